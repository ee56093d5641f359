#include "chronos/base/quote.h"

namespace chronos {

bool is_quotable(std::string_view text) {
    return text.find('\0') == std::string_view::npos;
}

std::string shell_word(std::string_view text) {
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,@+=%";
    if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos)
        return std::string(text);
    std::string word = "\"";
    for (const char c : text) {
        if (c == '$' || c == '`' || c == '"' || c == '\\') word += '\\';
        word += c;
    }
    return word + '"';
}

std::string server_command_word(std::string_view text) {
    std::string word;
    for (const char c : shell_word(text)) word += c == '%' ? std::string("%%") : std::string(1, c);
    return word;
}

std::string conf_value(std::string_view text) {
    std::string value;
    for (const char c : text) {
        switch (c) {
            case '\'': value += "''"; break;
            case '\\': value += "\\\\"; break;
            case '\n': value += "\\n"; break;
            case '\r': value += "\\r"; break;
            default: value += c;
        }
    }
    return value;
}

}  // namespace chronos
