#include <cstdio>
#include <ctime>

#include "chronos/base/text.h"
#include "chronos/ops/table/table.h"

namespace chronos::ops::table {
namespace {

Error no_name(std::string_view text, const std::string& why) {
    return Error(ErrorKind::param_invalid,
                 "'" + printable(text) + "' is no name of a table: " + why)
        .with_hint(
            "It is [database.]schema.table, with double quotes as in SQL around a part that has "
            "capital letters, dots or spaces: 'shop.public.\"Orders\"'.");
}

/// A part between double quotes, of which `text` begins with the first; taken off it.
std::optional<std::string> take_quoted(std::string_view& text) {
    std::string part;
    for (std::size_t at = 1; at < text.size(); ++at) {
        if (text[at] != '"') {
            part += text[at];
        } else if (at + 1 < text.size() && text[at + 1] == '"') {
            part += text[at++];
        } else {
            text.remove_prefix(at + 1);
            return part;
        }
    }
    return std::nullopt;
}

/// The server folds ASCII only, too.
std::string take_plain(std::string_view& text) {
    const std::string_view part = text.substr(0, text.find('.'));
    text.remove_prefix(part.size());
    return to_lower(part);
}

}  // namespace

Result<TableName> parse_table_name(std::string_view text) {
    std::vector<std::string> parts;
    const bool whole_schema = text.ends_with(".*");
    for (std::string_view rest = text;;) {
        if (rest.starts_with('"')) {
            auto part = take_quoted(rest);
            if (!part) return no_name(text, "a double quote has no end");
            parts.push_back(std::move(*part));
        } else {
            parts.push_back(take_plain(rest));
            if (parts.back().find_first_of("\" \t\r\n") != std::string::npos)
                return no_name(text, "a part with quotes or spaces in it must be quoted");
        }
        if (parts.back().empty()) return no_name(text, "a part is empty");
        if (parts.back().find('\0') != std::string::npos) return no_name(text, "it has a NUL");
        if (rest.empty()) break;
        if (rest.front() != '.') return no_name(text, "there is more behind a quoted part");
        rest.remove_prefix(1);
    }
    if (parts.size() < 2) return no_name(text, "the schema is missing");
    if (parts.size() > 3) return no_name(text, "it has more than three parts");
    TableName name;
    name.whole_schema = whole_schema;
    name.name = std::move(parts.back());
    name.schema = std::move(parts[parts.size() - 2]);
    if (parts.size() == 3) name.database = std::move(parts.front());
    return name;
}

std::string quote_name(std::string_view name) {
    std::string quoted = "\"";
    for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
    return quoted + "\"";
}

std::string schema_of_time(UnixTime time) {
    const std::time_t seconds = time;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[64];
    std::strftime(text, sizeof text, "recovered_%Y%m%d_%H%M%S", &parts);
    return text;
}

}  // namespace chronos::ops::table
