#include "chronos/control/message.h"

#include <algorithm>

namespace chronos::control {
namespace {

bool is_word_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool is_word(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_word_byte);
}

/// Bytes that stand for themselves in a value: those of file names, LSNs, labels and numbers, so
/// that a recorded channel can be read by people.
bool is_plain_byte(char c) {
    return is_word_byte(c) || (c >= 'A' && c <= 'Z') ||
           std::string_view("./:,@+").find(c) != std::string_view::npos;
}

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void append_value(std::string& line, std::string_view value) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    for (const char c : value) {
        if (is_plain_byte(c)) {
            line += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        line += '%';
        line += kDigits[byte >> 4];
        line += kDigits[byte & 15];
    }
}

std::optional<std::string> parse_value(std::string_view text) {
    std::string value;
    value.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (is_plain_byte(text[i])) {
            value += text[i];
            continue;
        }
        if (text[i] != '%' || text.size() - i < 3) return std::nullopt;
        const int high = hex_value(text[i + 1]);
        const int low = hex_value(text[i + 2]);
        if (high < 0 || low < 0) return std::nullopt;
        value += static_cast<char>(high << 4 | low);
        i += 2;
    }
    return value;
}

}  // namespace

Message&& Message::with(std::string_view key, std::string_view value) && {
    fields.emplace_back(key, value);
    return std::move(*this);
}

Message&& Message::with(std::string_view key, std::uint64_t value) && {
    fields.emplace_back(key, std::to_string(value));
    return std::move(*this);
}

const std::string* Message::get(std::string_view key) const {
    for (const auto& [name, value] : fields)
        if (name == key) return &value;
    return nullptr;
}

std::string_view Message::get_or(std::string_view key, std::string_view fallback) const {
    const std::string* value = get(key);
    return value == nullptr ? fallback : std::string_view(*value);
}

std::optional<std::uint64_t> Message::get_uint(std::string_view key) const {
    const std::string* value = get(key);
    if (value == nullptr || value->empty()) return std::nullopt;
    std::uint64_t number = 0;
    for (const char c : *value) {
        if (c < '0' || c > '9') return std::nullopt;
        if (__builtin_mul_overflow(number, std::uint64_t{10}, &number) ||
            __builtin_add_overflow(number, static_cast<std::uint64_t>(c - '0'), &number))
            return std::nullopt;
    }
    return number;
}

std::string encode(const Message& message) {
    std::string line = message.verb;
    for (const auto& [key, value] : message.fields) {
        line += ' ';
        line += key;
        line += '=';
        append_value(line, value);
    }
    line += '\n';
    return line;
}

std::optional<Message> decode(std::string_view line) {
    if (line.size() > kLineSizeMax) return std::nullopt;
    const std::size_t verb_size = std::min(line.find(' '), line.size());
    Message message(line.substr(0, verb_size));
    if (!is_word(message.verb)) return std::nullopt;
    line.remove_prefix(verb_size);
    while (!line.empty()) {
        line.remove_prefix(1);  // the blank in front of a field
        const std::string_view field = line.substr(0, line.find(' '));
        const std::size_t equals = field.find('=');
        if (equals == std::string_view::npos || !is_word(field.substr(0, equals)))
            return std::nullopt;
        std::optional<std::string> value = parse_value(field.substr(equals + 1));
        if (!value) return std::nullopt;
        message.fields.emplace_back(field.substr(0, equals), *std::move(value));
        line.remove_prefix(field.size());
    }
    return message;
}

bool LineBuffer::append(std::string_view chunk) {
    if (broken_) return false;
    // Not at each line: moving the rest down for every one of many short lines would be quadratic.
    if (read_at_ >= data_.size() / 2) {
        data_.erase(0, read_at_);
        read_at_ = 0;
    }
    for (std::string_view rest = chunk; !rest.empty();) {
        const std::size_t end = rest.find('\n');
        line_size_ += std::min(end, rest.size());
        if (line_size_ > kLineSizeMax) {
            broken_ = true;
            return false;
        }
        if (end == std::string_view::npos) break;
        line_size_ = 0;
        rest.remove_prefix(end + 1);
    }
    data_ += chunk;
    return true;
}

std::optional<std::string> LineBuffer::next_line() {
    // The unfinished line is line_size_ bytes at the end: nothing to look for in it again.
    while (data_.size() - read_at_ > line_size_) {
        const std::size_t end = data_.find('\n', read_at_);
        std::string line = data_.substr(read_at_, end - read_at_);
        read_at_ = end + 1;
        if (line.empty() || line.back() != kCutOff) return line;
    }
    return std::nullopt;
}

}  // namespace chronos::control
