#include "chronos/pgdata/server_config.h"
#include "chronos/os/file.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "chronos/base/text.h"

namespace chronos::pgdata {
namespace {

namespace fs = std::filesystem;

/// As deep as the server follows includes.
constexpr int kDepthMax = 10;
/// More is no configuration file.
constexpr std::size_t kFileSizeMax = std::size_t{4} << 20;

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// One line: name, an optional '=', a value, an optional comment.
struct Line {
    std::string name;
    std::string value;
};

/// Takes a line apart. Source: the server's scanner for these files, as its manual describes it.
class LineReader {
public:
    explicit LineReader(std::string_view text) : text_(text) {}

    bool empty() {
        skip_blanks();
        return text_.empty() || text_.front() == '#';
    }
    std::optional<Line> read() {
        Line line;
        skip_blanks();
        line.name = take([](char c) { return is_letter(c) || is_digit(c) || c == '.'; });
        if (line.name.empty() || !is_letter(line.name.front())) return std::nullopt;
        skip_blanks();
        if (!text_.empty() && text_.front() == '=') text_.remove_prefix(1);
        skip_blanks();
        if (!take_value(line.value) || !empty()) return std::nullopt;
        return line;
    }
    bool take_value(std::string& value) {
        if (!text_.empty() && text_.front() == '\'') return take_quoted(value);
        value = take([](char c) {
            return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == ':' ||
                   c == '/' || c == '+';
        });
        return !value.empty();
    }
    bool at_end() const { return text_.empty(); }

private:
    template <class Wanted>
    std::string take(const Wanted& wanted) {
        std::size_t size = 0;
        while (size < text_.size() && wanted(text_[size])) ++size;
        std::string taken(text_.substr(0, size));
        text_.remove_prefix(size);
        return taken;
    }
    void skip_blanks() {
        while (!text_.empty() &&
               (text_.front() == ' ' || text_.front() == '\t' || text_.front() == '\r'))
            text_.remove_prefix(1);
    }
    bool take_quoted(std::string& value) {
        std::size_t at = 1;
        while (at < text_.size()) {
            const char c = text_[at];
            if (c == '\\') {
                if (at + 1 >= text_.size()) return false;
                at = unescape(at + 1, value);
            } else if (c != '\'') {
                value += c;
                ++at;
            } else if (at + 1 < text_.size() && text_[at + 1] == '\'') {
                value += c;
                at += 2;
            } else {
                text_.remove_prefix(at + 1);
                return true;
            }
        }
        return false;
    }
    /// What follows a backslash at `at`; returns where it goes on.
    std::size_t unescape(std::size_t at, std::string& value) const {
        const char c = text_[at];
        constexpr std::string_view kNames = "bfnrt";
        constexpr std::string_view kValues = "\b\f\n\r\t";
        if (const std::size_t known = kNames.find(c); known != std::string_view::npos) {
            value += kValues[known];
            return at + 1;
        }
        if (c < '0' || c > '7') {
            value += c;
            return at + 1;
        }
        unsigned octal = 0;
        std::size_t end = at;
        while (end < text_.size() && end < at + 3 && text_[end] >= '0' && text_[end] <= '7')
            octal = octal * 8 + static_cast<unsigned>(text_[end++] - '0');
        value += static_cast<char>(octal);
        return end;
    }

    std::string_view text_;
};

class Reader {
public:
    explicit Reader(const ConfigSource& source) : source_(source) {}

    /// `required`: whoever names it wants it to be there; "" if nobody does.
    void read_file(const std::string& path, const std::string& required, int depth) {
        if (depth > kDepthMax) {
            config.problems.push_back(required + " includes too deep");
            return;
        }
        auto content = source_.read(path);
        if (!content) {
            config.unread.push_back(printable(path) + ": " + content.error().text());
            return;
        }
        if (!*content) {
            if (!required.empty())
                config.problems.push_back(required + " includes " + printable(path) +
                                          ", which is not there");
            return;
        }
        read_text(path, **content, depth);
    }

    ServerConfig config;

private:
    void read_text(const std::string& path, const std::string& content, int depth) {
        std::size_t number = 0;
        for (const std::string_view text : split(content, '\n')) {
            ++number;
            LineReader reader(text);
            if (reader.empty()) continue;
            const std::string place =
                printable(fs::path(path).filename().string()) + " line " + std::to_string(number);
            auto line = reader.read();
            if (!line) {
                config.problems.push_back(place + " cannot be read: " + printable(text, 80));
                continue;
            }
            add(path, place, *std::move(line), depth);
        }
    }

    void add(const std::string& path, const std::string& place, Line line, int depth) {
        const std::string included = (fs::path(path).parent_path() / line.value).string();
        if (same_setting(line.name, "include_dir"))
            read_directory(included, place, depth);
        else if (same_setting(line.name, "include_if_exists"))
            read_file(included, "", depth + 1);
        else if (same_setting(line.name, "include"))
            read_file(included, place, depth + 1);
        else
            config.settings.push_back({std::move(line.name), std::move(line.value), place});
    }

    void read_directory(const std::string& path, const std::string& place, int depth) {
        auto names = source_.list(path);
        if (!names) {
            config.unread.push_back(printable(path) + ": " + names.error().text());
            return;
        }
        if (!*names) {
            config.problems.push_back(place + " includes directory " + printable(path) +
                                      ", which is not there");
            return;
        }
        std::sort((*names)->begin(), (*names)->end());
        for (const std::string& name : **names)
            if (is_included_name(name)) read_file(path + "/" + name, place, depth + 1);
    }

    const ConfigSource& source_;
};

Result<std::optional<std::string>> read_local(const std::string& path) {
    std::error_code code;
    if (!fs::exists(path, code) || fs::is_directory(path, code))
        return std::optional<std::string>{};
    if (!fs::is_regular_file(path, code) || fs::file_size(path, code) > kFileSizeMax)
        return Error(ErrorKind::file_read, "'" + path + "' is no configuration file");
    return os::read_if_there(path, kFileSizeMax);
}

Result<std::optional<std::vector<std::string>>> list_local(const std::string& path) {
    std::error_code code;
    std::vector<std::string> names;
    for (fs::directory_iterator at(path, code), end; !code && at != end; at.increment(code))
        names.push_back(at->path().filename().string());
    if (code == std::errc::no_such_file_or_directory || code == std::errc::not_a_directory)
        return std::optional<std::vector<std::string>>{};
    if (code)
        return system_error(ErrorKind::path_open, "unable to list '" + path + "'", code.value());
    return std::optional(std::move(names));
}

}  // namespace

const ConfigSetting* ServerConfig::find(std::string_view name) const {
    const auto found = std::find_if(
        settings.rbegin(), settings.rend(),
        [&](const ConfigSetting& setting) { return same_setting(setting.name, name); });
    return found == settings.rend() ? nullptr : &*found;
}

std::string ServerConfig::value_of(std::string_view name, std::string_view otherwise) const {
    const ConfigSetting* setting = find(name);
    return setting == nullptr ? std::string(otherwise) : setting->value;
}

ConfigSource local_config_source() {
    return {read_local, list_local};
}

ServerConfig read_server_config(const std::string& config_file, const std::string& auto_file,
                                const ConfigSource& source) {
    Reader reader(source);
    reader.read_file(config_file, "", 0);
    reader.read_file(auto_file, "", 0);
    return std::move(reader.config);
}

bool is_included_name(std::string_view name) {
    return name.size() > 5 && name.ends_with(".conf") && name.front() != '.';
}

bool same_setting(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string> parse_config_value(std::string_view literal) {
    LineReader reader(literal);
    std::string value;
    if (literal.find('\n') != std::string_view::npos || !reader.take_value(value) ||
        !reader.at_end())
        return std::nullopt;
    return value;
}

std::optional<bool> parse_config_bool(std::string_view value) {
    std::string text;
    for (const char c : value) text += lower(c);
    if (text == "1" || text == "on") return true;
    if (text == "0" || (text.size() >= 2 && std::string_view("off").starts_with(text)))
        return false;
    if (text.empty()) return std::nullopt;
    if (std::string_view("true").starts_with(text) || std::string_view("yes").starts_with(text))
        return true;
    if (std::string_view("false").starts_with(text) || std::string_view("no").starts_with(text))
        return false;
    return std::nullopt;
}

std::optional<std::uint64_t> parse_config_int(std::string_view value) {
    const std::string text(trim(value));
    if (text.empty()) return std::nullopt;
    char* end = nullptr;
    errno = 0;
    const long long whole = std::strtoll(text.c_str(), &end, 0);
    if (*end == '\0' && errno == 0)
        return whole < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(whole));
    constexpr double kMax = 1e15;
    const double real = std::strtod(text.c_str(), &end);
    if (*end != '\0' || !(real >= 0 && real < kMax)) return std::nullopt;
    return static_cast<std::uint64_t>(std::llrint(real));
}

}  // namespace chronos::pgdata
