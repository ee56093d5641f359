#include "chronos/present/sql_words.h"

#include <array>
#include <utility>

namespace chronos::present {
namespace {

/// Longer ones first: what they begin with has another meaning.
constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kWords{{
    {"--type=lsn --target=", "target_lsn => "},
    {"--type and --target choose", "target, target_name, target_lsn or target_xid chooses"},
    {"--type=time", "target"},
    {"--type=name", "target_name"},
    {"--type=lsn", "target_lsn"},
    {"--type=xid", "target_xid"},
    {"--into=", "into_schema => "},
    {"--into", "into_schema"},
    {"--where", "filter"},
    {"--with-dependencies", "with_dependencies => true"},
    {"--privileges", "privileges => true"},
    {"--before-drop", "before_drop => true"},
    {"--target-exclusive", "target_exclusive => true"},
    {"--set=", "label => "},
    {"--set", "label"},
    {"--target", "target"},
}};

constexpr bool is_of_word(char c) {
    return (c >= 'a' && c <= 'z') || c == '-';
}

/// Of what stands at the beginning of `text`: its length, and what it is called.
std::pair<std::size_t, std::string_view> word_at(std::string_view text) {
    const auto ends = [&](std::size_t size) {
        return size == text.size() || !is_of_word(text[size]);
    };
    for (const auto& [option, word] : kWords)
        if (text.starts_with(option) && (option.back() == '=' || ends(option.size())))
            return {option.size(), word};
    return {0, {}};
}

}  // namespace

std::string in_words_of_sql(std::string_view text) {
    std::string said;
    while (!text.empty()) {
        auto [length, word] = word_at(text);
        if (length == 0) {
            said += text.front();
            text.remove_prefix(1);
            continue;
        }
        said += word;
        text.remove_prefix(length);
        // A value is a literal of SQL.
        if (!word.ends_with("=> ")) continue;
        const std::size_t end = text.find_first_of(" \n,;:)");
        const std::string_view value = text.substr(0, end);
        said += "'" + std::string(value) + "'";
        text.remove_prefix(value.size());
    }
    return said;
}

Error in_words_of_sql(const Error& error) {
    Error said(error.kind(), in_words_of_sql(error.message()));
    if (!error.hint().empty()) said = std::move(said).with_hint(in_words_of_sql(error.hint()));
    if (error.transient()) said = std::move(said).as_transient();
    return error.no_space() ? std::move(said).as_no_space() : said;
}

}  // namespace chronos::present
