#include "repo/json_text.h"

#include <charconv>

#include "chronos/base/text.h"

namespace chronos::repo {
namespace {

/// Deeper than any value of the format; a bound for hostile text.
constexpr int kDepthMax = 32;

int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

void JsonReader::skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
}

void JsonReader::expected(const char* what) {
    if (!failed()) failure_ = what;
}

void JsonReader::fail(std::string_view message) {
    if (!failed()) own_failure_ = message;
}

bool JsonReader::take(char c) {
    skip_space();
    if (failed() || at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
}

bool JsonReader::take_word(std::string_view word) {
    skip_space();
    if (failed() || text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    first_ = false;
    return true;
}

char JsonReader::peek() {
    skip_space();
    if (failed() || at_ >= text_.size()) return '\0';
    const char c = text_[at_];
    return is_digit(c) || c == '-' ? '0' : c;
}

void JsonReader::begin_object() {
    if (!take('{')) expected("an object");
    first_ = true;
}

void JsonReader::begin_array() {
    if (!take('[')) expected("an array");
    first_ = true;
}

bool JsonReader::next(char close) {
    if (take(close)) {
        first_ = false;
        return false;
    }
    if (!first_ && !take(',')) expected("',' or the end of the list");
    first_ = false;
    return !failed();
}

bool JsonReader::next_item() {
    return next(']');
}

// Keys are taken as they stand: the format's writer does not escape them.
bool JsonReader::next_key(std::string_view& key) {
    if (!next('}')) return false;
    const bool opened = take('"');
    const std::size_t end = opened ? text_.find('"', at_) : std::string_view::npos;
    if (end == std::string_view::npos) {
        expected("a key");
        return false;
    }
    key = text_.substr(at_, end - at_);
    at_ = end + 1;
    if (!take(':')) expected("':'");
    return !failed();
}

void JsonReader::append_escape(std::string& result) {
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    switch (c) {
        case '"':
        case '\\':
        case '/': result += c; return;
        case 'n': result += '\n'; return;
        case 'r': result += '\r'; return;
        case 't': result += '\t'; return;
        case 'b': result += '\b'; return;
        case 'f': result += '\f'; return;
        case 'u': break;
        default: return expected("a known escape");
    }
    // The product's reader understands \u00XX only, and its writer makes none.
    const std::string_view digits = text_.substr(at_, 4);
    const bool known = digits.size() == 4 && digits.starts_with("00") &&
                       hex_value(digits[2]) >= 0 && hex_value(digits[3]) >= 0;
    if (!known) return expected("a known escape");
    result += static_cast<char>(hex_value(digits[2]) << 4 | hex_value(digits[3]));
    at_ += 4;
}

std::string JsonReader::string() {
    std::string result;
    if (!take('"')) expected("a string");
    while (!failed()) {
        const std::size_t stop = text_.find_first_of("\"\\", at_);
        if (stop == std::string_view::npos) {
            expected("the end of the string");
            break;
        }
        result.append(text_, at_, stop - at_);
        at_ = stop + 1;
        if (text_[stop] == '"') break;
        append_escape(result);
    }
    first_ = false;
    return result;
}

std::uint64_t JsonReader::number() {
    skip_space();
    std::uint64_t value = 0;
    const char* const begin = text_.data() + at_;
    const char* const end = text_.data() + text_.size();
    const auto [stop, code] = std::from_chars(begin, end, value);
    if (failed() || code != std::errc()) {
        expected("a number");
        return 0;
    }
    at_ += static_cast<std::size_t>(stop - begin);
    first_ = false;
    return value;
}

std::int64_t JsonReader::signed_number() {
    const bool negative = take('-');
    const std::uint64_t value = number();
    if (value > static_cast<std::uint64_t>(INT64_MAX)) {
        expected("a number within range");
        return 0;
    }
    return negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
}

UnixTime JsonReader::time() {
    const std::int64_t value = signed_number();
    if (value >= -kUnixTimeMax && value <= kUnixTimeMax) return value;
    expected("a time");
    return 0;
}

bool JsonReader::boolean() {
    if (take_word("true")) return true;
    if (!take_word("false")) expected("true or false");
    return false;
}

void JsonReader::null() {
    if (!take_word("null")) expected("null");
}

bool JsonReader::skip_string() {
    if (!take('"')) return false;
    for (;;) {
        const std::size_t stop = text_.find_first_of("\"\\", at_);
        if (stop == std::string_view::npos || stop + 1 > text_.size()) return false;
        at_ = stop + 1;
        if (text_[stop] == '"') return true;
        if (at_++ >= text_.size()) return false;
    }
}

bool JsonReader::skip_scalar() {
    switch (peek()) {
        case '"': return skip_string();
        case 't': return take_word("true");
        case 'f': return take_word("false");
        case 'n': return take_word("null");
        case '0': break;
        default: return false;
    }
    take('-');
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > begin;
}

void JsonReader::skip() {
    std::string closers;  // of the objects and arrays we are in
    do {
        const char kind = peek();
        if (kind == '{' || kind == '[') {
            ++at_;
            closers += kind == '{' ? '}' : ']';
            first_ = true;
            if (closers.size() > kDepthMax) expected("fewer levels");
        } else if (!skip_scalar()) {
            expected("a value");
        } else {
            first_ = false;
        }
        // Up to the next value: close what ends here, pass comma and key.
        while (!closers.empty() && !failed()) {
            std::string_view key;
            if (closers.back() == '}' ? next_key(key) : next_item()) break;
            closers.pop_back();
        }
    } while (!closers.empty() && !failed());
}

bool JsonReader::finished() {
    skip_space();
    if (at_ < text_.size()) expected("the end of the value");
    return !failed();
}

Error JsonReader::error() const {
    const std::string at = printable(text_.substr(std::min(at_, text_.size())), 40);
    if (!own_failure_.empty()) return Error(ErrorKind::json_format, own_failure_);
    return Error(ErrorKind::json_format, std::string("expected ") +
                                             (failure_ == nullptr ? "nothing" : failure_) +
                                             " at: " + (at.empty() ? "the end of the value" : at));
}

bool is_json(std::string_view text) {
    JsonReader reader(text);
    reader.skip();
    return reader.finished();
}

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        const std::size_t plain = std::min(text.find_first_of("\"\\\n\r\t\b\f"), text.size());
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) break;
        out += '\\';
        switch (text[0]) {
            case '\n': out += 'n'; break;
            case '\r': out += 'r'; break;
            case '\t': out += 't'; break;
            case '\b': out += 'b'; break;
            case '\f': out += 'f'; break;
            default: out += text[0];
        }
        text.remove_prefix(1);
    }
    out += '"';
}

void append_number(std::string& out, std::uint64_t value) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, end);
}

void append_number(std::string& out, std::int64_t value) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, end);
}

}  // namespace chronos::repo
