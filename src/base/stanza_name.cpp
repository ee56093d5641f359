#include "chronos/base/stanza_name.h"

#include "chronos/base/utf8.h"

namespace chronos {
namespace {

/// With "-archive-push-async.lock.tmp" and the like behind it, a file name of at most 255 bytes.
constexpr std::size_t kSizeMax = 200;

}  // namespace

const char* stanza_name_problem(std::string_view name) noexcept {
    if (name.empty()) return "it is empty";
    if (name == "." || name == "..") return "it is the name of a directory that is always there";
    if (name.find('/') != std::string_view::npos) return "it contains '/'";
    if (name.size() > kSizeMax) return "it is longer than 200 bytes";
    if (name == "global" || name.starts_with("global:"))
        return "sections of that name are for all stanzas";
    for (std::string_view rest = name; !rest.empty();) {
        const std::size_t length = utf8_length(rest);
        const auto byte = static_cast<unsigned char>(rest.front());
        if (length == 0) return "it is not UTF-8";
        if (byte < 0x20 || byte == 0x7F) return "it contains a control character";
        rest.remove_prefix(length);
    }
    return nullptr;
}

}  // namespace chronos
