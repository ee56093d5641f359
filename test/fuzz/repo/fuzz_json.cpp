// JSON of info files, locks and records: the reader and another implementation agree in what is a
// text, and any text that is written is read back.
#include <nlohmann/json.hpp>

#include "chronos/base/utf8.h"
#include "chronos/repo/annotations.h"
#include "fuzz.h"
#include "repo/ini_text.h"
#include "repo/json_text.h"

namespace {

using namespace chronos;
using namespace chronos::repo;

void check_written(std::string_view text) {
    std::string written;
    append_json_string(written, text);
    JsonReader reader(written);
    require(reader.string() == text && reader.finished());
    require(is_json(written));
    // What comes in by a door of ours is JSON for others, too.
    if (check_text("it", text)) require(nlohmann::json::parse(written).get<std::string>() == text);
}

/// Reads a value with what it is said to be.
void visit(JsonReader& reader, int depth) {
    std::string_view key;
    switch (depth > 40 ? '\0' : reader.peek()) {
        case '{':
            for (reader.begin_object(); reader.next_key(key);) visit(reader, depth + 1);
            break;
        case '[':
            for (reader.begin_array(); reader.next_item();) visit(reader, depth + 1);
            break;
        case '"': reader.string(); break;
        case 't':
        case 'f': reader.boolean(); break;
        case 'n': reader.null(); break;
        case '0': reader.signed_number(); break;
        default: reader.skip();
    }
}

/// Whether the subset has all that is in it.
bool is_in_subset(const nlohmann::json& json) {
    if (json.is_number_float()) return false;
    for (const auto& [key, value] : json.items())
        if (json.is_structured() && !is_in_subset(value)) return false;
    return true;
}

void check_read(std::string_view text) {
    JsonReader reader(text);
    visit(reader, 0);
    const bool read = reader.finished();
    if (!read) require(!reader.error().message().empty());
    // A text that is read with its types is one.
    if (read) require(is_json(text));
    // Others take line feeds for white space and a NUL byte for the end, and know escapes in keys
    // and of code points from U+0100 on.
    if (text.find_first_of(std::string_view("\n\r\\\0", 4)) != std::string_view::npos) return;
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded() || !is_in_subset(json)) return;
    std::size_t levels = 0;
    for (const char c : text) levels += c == '{' || c == '[';
    if (levels < 32) require(is_json(text));
}

/// Whole, and fed in pieces: the same entries and the same verdict.
void check_frame(std::string_view text, std::size_t chunk) {
    std::string whole, parts;
    IniEntry entry;
    const auto note = [&](std::string& to) {
        to += std::string(entry.section) + '\n' + std::string(entry.key) + '\n' +
              std::string(entry.value) + '\n';
    };
    IniReader reader(text);
    while (reader.next(entry)) note(whole);
    const auto result = reader.finish();
    IniReader fed;
    for (std::string_view rest = text; !rest.empty();
         rest.remove_prefix(std::min(chunk, rest.size()))) {
        fed.feed(rest.substr(0, chunk));
        while (fed.next(entry)) note(parts);
    }
    fed.end();
    while (fed.next(entry)) note(parts);
    const auto result_of_parts = fed.finish();
    require(whole == parts && static_cast<bool>(result) == static_cast<bool>(result_of_parts));
    if (!result) require(result.error().message() == result_of_parts.error().message());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const std::size_t chunk = input.byte() % 64 + std::size_t{1};
    check_written(input.rest());
    check_read(input.rest());
    check_frame(input.rest(), chunk);
    return 0;
}
