#include "chronos/repo/repository.h"

#include <algorithm>

#include "chronos/base/text.h"

namespace chronos::repo {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// "20261120-075745F": date and time, then one of `types`.
bool is_label_part(std::string_view text, std::string_view types) {
    return text.size() == 16 && text[8] == '-' && types.find(text[15]) != std::string_view::npos &&
           std::all_of(text.begin(), text.begin() + 8, is_digit) &&
           std::all_of(text.begin() + 9, text.begin() + 15, is_digit);
}

}  // namespace

std::string archive_path(const std::string& stanza) {
    return "archive/" + stanza;
}
std::string backup_path(const std::string& stanza) {
    return "backup/" + stanza;
}
std::string backup_path(const std::string& stanza, const std::string& label) {
    return "backup/" + stanza + "/" + label;
}

bool is_backup_label(std::string_view text) {
    if (!is_label_part(text.substr(0, 16), "F")) return false;
    return text.size() == 16 ||
           (text.size() == 33 && text[16] == '_' && is_label_part(text.substr(17), "DI"));
}

bool is_pg_version(std::string_view text) {
    const std::vector<std::string_view> parts = split(text, '.');
    return std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
        return part.empty() || !std::all_of(part.begin(), part.end(), is_digit);
    });
}

bool is_archive_id(std::string_view text) {
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) return false;
    const std::string_view id = text.substr(dash + 1);
    return is_pg_version(text.substr(0, dash)) && !id.empty() &&
           std::all_of(id.begin(), id.end(), is_digit);
}

}  // namespace chronos::repo
