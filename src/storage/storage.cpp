#include "chronos/storage/storage.h"

#include <algorithm>

#include "chronos/base/text.h"

namespace chronos::storage {

bool is_object_name(std::string_view name) {
    if (name.find('\0') != std::string_view::npos) return false;
    return std::ranges::none_of(split(name, '/'), [](std::string_view component) {
        return component.empty() || component == "." || component == "..";
    });
}

Result<std::string> read_object(Storage& storage, const ObjectName& name, std::size_t size_max) {
    auto source = CHRONOS_TRY(storage.open(name));
    auto content = io::read_all(*source, size_max);
    // An implementation names the object in its errors; the bound is checked by who does not know
    // it.
    if (!content && content.error().kind() == ErrorKind::format)
        return std::move(content).error().while_doing("read '" + storage.describe(name) + "'");
    return content;
}

Result<> write_object(Storage& storage, const ObjectName& name, std::string_view content,
                      WriteMode mode) {
    auto sink = CHRONOS_TRY(storage.create(name, mode));
    CHRONOS_TRY(sink->write(io::bytes(content)));
    return sink->finish();
}

Result<bool> exists(Storage& storage, const ObjectName& name) {
    return CHRONOS_TRY(storage.info(name)).has_value();
}

}  // namespace chronos::storage
