#include <algorithm>
#include <cctype>

#include "chronos/base/text.h"
#include "chronos/ops/drill/drill.h"

namespace chronos::ops::drill {
namespace {

bool is_name_char(char c) {
    return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0;
}

/// The tag of the dollar quotes that begin at `at`, as "$$" or "$body$"; "" if none do.
std::string_view dollar_tag(std::string_view text, std::size_t at) {
    std::size_t end = at + 1;
    while (end < text.size() && is_name_char(text[end])) ++end;
    const bool is_tag = end < text.size() && text[end] == '$' &&
                        (end == at + 1 || !is_digit(text[at + 1])) &&
                        (at == 0 || !is_name_char(text[at - 1]));
    return is_tag ? text.substr(at, end + 1 - at) : std::string_view();
}

/// Behind the quotes that begin at `at`. Two of them stand for one, which reads as a string and
/// another one right behind it; a backslash means something in E'' only.
std::size_t end_of_quotes(std::string_view text, std::size_t at) {
    const bool has_escapes = text[at] == '\'' && at > 0 &&
                             (text[at - 1] == 'E' || text[at - 1] == 'e') &&
                             (at == 1 || !is_name_char(text[at - 2]));
    for (std::size_t i = at + 1; i < text.size(); ++i) {
        if (has_escapes && text[i] == '\\')
            ++i;
        else if (text[i] == text[at])
            return i + 1;
    }
    return text.size();
}

/// Behind the comment that begins at `at` with "/*"; they nest.
std::size_t end_of_comment(std::string_view text, std::size_t at) {
    int depth = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
        if (text.substr(i, 2) == "/*")
            ++depth, ++i;
        else if (text.substr(i, 2) == "*/" && (++i, --depth) == 0)
            return i + 1;
    }
    return text.size();
}

bool begins_comment(std::string_view text, std::size_t at) {
    return text.substr(at, 2) == "--" || text.substr(at, 2) == "/*";
}

/// Behind what begins at `at` if nothing in it means anything outside: quotes and comments as the
/// server's lexer knows them. `at` if there is no such thing.
std::size_t end_of_opaque(std::string_view text, std::size_t at) {
    const char c = text[at];
    if (c == '\'' || c == '"') return end_of_quotes(text, at);
    if (text.substr(at, 2) == "--") return std::min(text.find('\n', at), text.size());
    if (text.substr(at, 2) == "/*") return end_of_comment(text, at);
    if (c != '$') return at;
    const std::string_view tag = dollar_tag(text, at);
    if (tag.empty()) return at;
    const std::size_t end = text.find(tag, at + tag.size());
    return end == std::string_view::npos ? text.size() : end + tag.size();
}

/// Where the "=>" is that separates question and answer: the last one outside of quotes, comments
/// and parentheses, within which it names an argument of a function. npos without one.
std::size_t find_arrow(std::string_view text) {
    std::size_t found = std::string_view::npos;
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (const std::size_t end = end_of_opaque(text, i); end != i)
            i = end - 1;
        else if (text[i] == '(')
            ++depth;
        else if (text[i] == ')')
            --depth;
        else if (depth == 0 && text.substr(i, 2) == "=>")
            found = i;
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

/// A file of assertions, read from its begin to its end. A question ends where the server's lexer
/// sees a semicolon, so that one line may hold two and a comment may follow; an answer is any text,
/// quotes and all, and ends with the semicolon that ends its line.
class AssertionFile {
public:
    AssertionFile(std::string_view text, const std::string& database)
        : text_(text), database_(database) {}

    Result<std::vector<Assertion>> read() {
        while (at_ < text_.size()) CHRONOS_TRY(is_answer_ ? read_answer() : read_question());
        CHRONOS_TRY(finish());
        return std::move(assertions_);
    }

private:
    std::size_t line_end() const { return std::min(text_.find('\n', at_), text_.size()); }
    bool is_first_of_line() const {
        const std::size_t begin = at_ == 0 ? 0 : text_.rfind('\n', at_ - 1) + 1;
        return trim(text_.substr(begin, at_ - begin)).empty();
    }

    Result<> read_answer() {
        const std::string_view rest = trim(text_.substr(at_ + 1, line_end() - at_ - 1));
        if (text_[at_] == ';' && (rest.empty() || rest.starts_with("--"))) return finish();
        statement_ += text_[at_++];
        return {};
    }

    Result<> read_question() {
        const char c = text_[at_];
        if (c == '#' && is_first_of_line()) {
            at_ = line_end();
        } else if (c == ';') {
            return finish();
        } else if (c == '\\' && trim(statement_).empty()) {
            return read_connect();
        } else if (const std::size_t end = end_of_opaque(text_, at_); end != at_) {
            statement_ += begins_comment(text_, at_) ? " " : text_.substr(at_, end - at_);
            at_ = end;
        } else {
            if (c == '(') ++depth_;
            if (c == ')') --depth_;
            is_answer_ = depth_ == 0 && text_.substr(at_, 2) == "=>";
            statement_ += text_.substr(at_, is_answer_ ? 2 : 1);
            at_ += is_answer_ ? 2 : 1;
        }
        return {};
    }

    Result<> read_connect() {
        std::string_view line = trim(text_.substr(at_, line_end() - at_));
        std::string name = CHRONOS_TRY(take_connect(line));
        if (name.empty())
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(line) + "' is none of psql's commands that are read here")
                .with_hint("\\connect names the database of the assertions that follow.");
        database_ = std::move(name);
        at_ = line.empty() ? line_end() : static_cast<std::size_t>(line.data() - text_.data());
        return {};
    }

    Result<> finish() {
        const std::string statement(trim(statement_));
        statement_.clear();
        depth_ = 0;
        is_answer_ = false;
        if (at_ < text_.size()) ++at_;
        if (statement.empty()) return {};
        Assertion assertion = make_assertion(database_, statement);
        if (assertion.sql.empty() || assertion.expected.empty())
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(statement) + "' is no assertion")
                .with_hint("Write \"SELECT ...\" for something true, or \"SELECT ... => value\".");
        assertions_.push_back(std::move(assertion));
        return {};
    }

    const std::string_view text_;
    std::string database_;
    std::size_t at_ = 0;
    int depth_ = 0;  ///< of parentheses in the question
    bool is_answer_ = false;
    std::string statement_;
    std::vector<Assertion> assertions_;
};

}  // namespace

Result<std::vector<Assertion>> parse_assertions(std::string_view text,
                                                const std::string& database) {
    return AssertionFile(text, database).read();
}

}  // namespace chronos::ops::drill
