#include "chronos/storage/storage.h"

#include <algorithm>

#include "chronos/base/text.h"

namespace chronos::storage {
namespace {

/// Buffers and contexts of the stages in front of or behind an object.
constexpr std::uint64_t kStagesCost = std::uint64_t{1} << 20;

}  // namespace

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

io::Workers workers_for(const Storage& storage, std::size_t process_max) {
    if (!storage.features().remote) return process_max;
    // A request of 50 ms moves a small file: 64 of them are some thousand files in three seconds,
    // about what two processors compress and encrypt.
    constexpr std::size_t kThreadsMin = 64;
    constexpr std::size_t kThreadsPerProcess = 16;
    return {std::max(kThreadsMin, kThreadsPerProcess * process_max), process_max};
}

Result<> at_once(const Storage& storage, const std::vector<std::function<Result<>()>>& questions) {
    const std::size_t threads = storage.features().remote ? questions.size() : 1;
    return io::parallel_for(threads, questions.size(), Cancellation(),
                            [&](std::size_t i) { return questions[i](); });
}

std::uint64_t cost_of_writing(const Storage& storage, std::uint64_t size_bytes) {
    // A part being filled, and those of a large object that are under way.
    constexpr std::uint64_t kPartsMax = std::uint64_t{24} << 20;
    return storage.features().remote ? kStagesCost + std::min(size_bytes, kPartsMax) : 0;
}

std::uint64_t cost_of_reading(const Storage& storage, std::uint64_t size_bytes) {
    constexpr std::uint64_t kWaitingMax = std::uint64_t{2} << 20;
    return storage.features().remote ? kStagesCost + std::min(size_bytes, kWaitingMax) : 0;
}

}  // namespace chronos::storage
