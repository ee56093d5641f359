#include "chronos/pgdata/auth_config.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "chronos/base/text.h"

namespace chronos::pgdata {
namespace {

namespace fs = std::filesystem;

/// As deep as the server follows includes.
constexpr int kAuthDepthMax = 10;

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/// Takes one token off `line`. Source: the server's scanner for these files (hba.c), as its manual
/// describes it. `more`: a comma follows, and so another token of the same field.
bool take_token(std::string_view& line, AuthToken& token, bool& more) {
    while (!line.empty() && (is_blank(line.front()) || line.front() == ',')) line.remove_prefix(1);
    bool in_quote = false;
    bool was_quote = false;
    more = false;
    while (!line.empty() && (in_quote || !is_blank(line.front()))) {
        const char c = line.front();
        if (c == '#' && !in_quote) {
            line = {};
            break;
        }
        line.remove_prefix(1);
        if (c == ',' && !in_quote) {
            more = true;
            break;
        }
        if (c != '"' || was_quote) token.text += c;
        was_quote = in_quote && c == '"' && !was_quote;
        if (c == '"') {
            in_quote = !in_quote;
            if (token.text.empty()) token.quoted = true;
        }
    }
    return token.quoted || !token.text.empty();
}

AuthLine parse_line(std::string_view text) {
    AuthLine line;
    while (!text.empty()) {
        std::vector<AuthToken> field;
        bool more = true;
        while (more) {
            AuthToken token;
            if (!take_token(text, token, more)) break;
            field.push_back(std::move(token));
        }
        if (!field.empty()) line.push_back(std::move(field));
    }
    return line;
}

class AuthReader {
public:
    explicit AuthReader(const ConfigSource& source) : source_(source) {}

    void read_file(const std::string& path, bool required, int depth) {
        if (depth > kAuthDepthMax || !read_.insert(path).second) return;
        const auto content = source_.read(path);
        if (content && *content)
            read_text(path, **content, depth);
        else if (content && required)
            problems.push_back(not_there(path));
    }

    std::vector<std::string> problems;

private:
    void read_text(const std::string& path, const std::string& content, int depth) {
        const fs::path directory = fs::path(path).parent_path();
        for (const AuthLine& line : parse_auth_lines(content)) {
            for (const auto& field : line)
                for (const AuthToken& token : field)
                    if (!token.quoted && token.text.size() > 1 && token.text.front() == '@')
                        read_file(directory / token.text.substr(1), true, depth + 1);
            if (line.size() != 2) continue;
            const std::string& verb = line[0].front().text;
            const std::string included = directory / line[1].front().text;
            if (verb == "include" || verb == "include_if_exists")
                read_file(included, verb == "include", depth + 1);
            else if (verb == "include_dir")
                read_directory(included, depth + 1);
        }
    }

    void read_directory(const std::string& path, int depth) {
        auto names = source_.list(path);
        if (names && !*names) problems.push_back("directory " + printable(path) + " is not there");
        if (!names || !*names) return;
        std::ranges::sort(**names);
        for (const std::string& name : **names)
            if (is_included_name(name)) read_file(path + "/" + name, true, depth);
    }

    const ConfigSource& source_;
    std::set<std::string> read_;
};

}  // namespace

std::string not_there(const std::string& file) {
    return printable(file) + " is not there";
}

std::vector<AuthLine> parse_auth_lines(std::string_view text) {
    std::vector<AuthLine> lines;
    std::string whole;
    for (const std::string_view part : split(text, '\n')) {
        whole += part;
        // Since 14 a backslash at the end of a line joins it with the next one.
        if (whole.ends_with('\\')) {
            whole.pop_back();
            continue;
        }
        if (AuthLine line = parse_line(whole); !line.empty()) lines.push_back(std::move(line));
        whole.clear();
    }
    if (AuthLine line = parse_line(whole); !line.empty()) lines.push_back(std::move(line));
    return lines;
}

std::vector<std::string> read_auth_files(const std::string& file, const ConfigSource& source) {
    AuthReader reader(source);
    reader.read_file(file, true, 0);
    return std::move(reader.problems);
}

}  // namespace chronos::pgdata
