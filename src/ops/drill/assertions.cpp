#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/ops/drill.h"

namespace chronos::ops::drill {
namespace {

/// Where the "=>" is that separates question and answer: the last one outside of quotes and
/// parentheses, within which it names an argument of a function. npos without one.
std::size_t find_arrow(std::string_view text) {
    std::size_t found = std::string_view::npos;
    int depth = 0;
    char quote = '\0';
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quote != '\0') {
            if (c == quote) quote = '\0';
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c == '(') {
            ++depth;
        } else if (c == ')') {
            --depth;
        } else if (depth == 0 && c == '=' && text.substr(i, 2) == "=>") {
            found = i;
        }
    }
    return found;
}

Assertion make_assertion(const std::string& database, std::string_view statement) {
    Assertion assertion;
    assertion.database = database;
    const std::size_t arrow = find_arrow(statement);
    assertion.sql = trim(statement.substr(0, arrow));
    if (arrow != std::string_view::npos) assertion.expected = trim(statement.substr(arrow + 2));
    return assertion;
}

/// Takes what begins `line` as psql reads an argument: up to white space, and in quotes - of which
/// two stand for one - whatever there is. Semicolons behind it are none of it.
Result<std::string> take_name(std::string_view& line) {
    const std::string_view whole = line;
    std::string name;
    std::size_t quoted_end = 0;
    char quote = '\0';
    for (; !line.empty(); line.remove_prefix(1)) {
        const char c = line.front();
        if (quote == '\0' && (c == ' ' || c == '\t')) break;
        if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
        } else if (c != quote) {
            name += c;
        } else if (line.substr(1).starts_with(quote)) {
            name += c;
            line.remove_prefix(1);
        } else {
            quote = '\0';
            quoted_end = name.size();
        }
    }
    if (quote != '\0')
        return Error(ErrorKind::option_invalid_value,
                     "the quotes around a name are not closed: '" + printable(whole) + "'");
    while (name.size() > quoted_end && name.ends_with(';')) name.pop_back();
    return name;
}

/// The name behind "\connect" or "\c" at the front of `line`, which it is taken from; "" if there
/// is none. As in psql it may be quoted.
Result<std::string> take_connect(std::string_view& line) {
    for (const std::string_view word : {"\\connect", "\\c"}) {
        if (!line.starts_with(word)) continue;
        std::string_view rest = line.substr(word.size());
        if (rest.empty() || (rest.front() != ' ' && rest.front() != '\t')) continue;
        rest = trim(rest);
        std::string name = CHRONOS_TRY(take_name(rest));
        line = trim(rest);
        return name;
    }
    return std::string();
}

}  // namespace

Result<std::vector<Assertion>> parse_assertions(std::string_view text,
                                                const std::string& database) {
    std::vector<Assertion> assertions;
    std::string current = database;
    std::string statement;
    const auto finish = [&]() -> Result<> {
        if (trim(statement).empty()) return {};
        Assertion assertion = make_assertion(current, trim(statement));
        if (assertion.sql.empty() || assertion.expected.empty())
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(trim(statement)) + "' is no assertion")
                .with_hint("Write \"SELECT ...\" for something true, or \"SELECT ... => value\".");
        assertions.push_back(std::move(assertion));
        statement.clear();
        return {};
    };
    for (std::string_view line : split(text, '\n')) {
        line = trim(line);
        if (line.empty() || line.starts_with("--") || line.starts_with('#')) continue;
        if (statement.empty())
            if (std::string name = CHRONOS_TRY(take_connect(line)); !name.empty())
                current = std::move(name);
        const bool ends = line.ends_with(';');
        if (ends) line.remove_suffix(1);
        statement += (statement.empty() ? "" : "\n") + std::string(line);
        if (ends) CHRONOS_TRY(finish());
    }
    CHRONOS_TRY(finish());
    return assertions;
}

}  // namespace chronos::ops::drill
