#include "chronos/present/print.h"

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/present/json_text.h"

namespace chronos::present {
namespace {

std::function<void()>& before_print() {
    static std::function<void()> before;
    return before;
}

}  // namespace

void set_before_print(std::function<void()> before) {
    before_print() = std::move(before);
}

Result<> print(std::string_view text) {
    if (before_print()) before_print()();
    while (!text.empty()) {
        const ssize_t size = write(STDOUT_FILENO, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0)
            return system_error(ErrorKind::file_write, "unable to write standard output", errno);
        text.remove_prefix(static_cast<std::size_t>(size));
    }
    return {};
}

Result<> print_text(std::string_view text) {
    return print(without_controls(text));
}

Result<> print_json(const nlohmann::json& value) {
    return print(text_of(value) + "\n");
}

}  // namespace chronos::present
