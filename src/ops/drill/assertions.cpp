#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/ops/drill.h"

namespace chronos::ops::drill {
namespace {

constexpr std::string_view kConnect = "\\connect ";

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

/// The name behind "\connect" at the front of `line`, which it is taken from; "" if there is none.
std::string take_connect(std::string_view& line) {
    if (!line.starts_with(kConnect)) return "";
    line = trim(line.substr(kConnect.size()));
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    const std::string name(line.substr(0, end));
    line = trim(line.substr(end));
    return name;
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
            if (const std::string name = take_connect(line); !name.empty()) current = name;
        const bool ends = line.ends_with(';');
        if (ends) line.remove_suffix(1);
        statement += (statement.empty() ? "" : "\n") + std::string(line);
        if (ends) CHRONOS_TRY(finish());
    }
    CHRONOS_TRY(finish());
    return assertions;
}

}  // namespace chronos::ops::drill
