#include "config/config_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "chronos/base/text.h"
#include "chronos/os/file.h"

namespace chronos::config {
namespace {

/// The system's files, first match. Ours goes before pgBackRest's, so that both can be installed.
constexpr const char* kMainFiles[] = {"/etc/chronos/chronos.conf",
                                      "/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"};

Error open_error(const std::string& path, int error_number, mode_t needed) {
    if (error_number == ENOENT || error_number == ENOTDIR)
        return Error(ErrorKind::not_found, "unable to open missing file '" + path + "' for read");
    Error error = system_error(ErrorKind::file_open, "unable to open file '" + path + "' for read",
                               error_number);
    if (error_number != EACCES) return error;
    return std::move(error).with_hint("User id " + std::to_string(geteuid()) + " needs mode " +
                                      (needed == 0640 ? "0640" : "0750") +
                                      " with its own group: chgrp and chmod " +
                                      (needed == 0640 ? "640 " : "750 ") + path + ".");
}

/// Whether the file was there.
Result<bool> read_if_there(const std::string& path, FileContent& content) {
    mode_t mode = 0;
    auto text = read_small_file(path, &mode);
    if (!text) {
        if (text.error().kind() == ErrorKind::not_found) return false;
        return std::move(text).error();
    }
    content.files.push_back(
        {.path = path, .text = std::move(*text), .world_readable = (mode & S_IRWXO) != 0});
    return true;
}

/// Whether somebody may think that a file of this name is included. What editors and package
/// managers leave, and what was put aside by another name, is not meant to be.
bool looks_included(const std::string& path, std::string_view name) {
    if (name.empty() || name[0] == '.' || name.ends_with(".conf")) return false;
    std::string lower(trim(name));
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool by_name = lower.ends_with(".conf") || lower.ends_with(".cnf") ||
                         lower.ends_with(".cfg") || lower.ends_with(".config") ||
                         lower.ends_with(".ini") || lower.ends_with(".conf.txt") ||
                         lower.ends_with(".con") || lower.ends_with(".conff");
    if (!by_name && lower.find('.') != std::string::npos) return false;
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
    if (by_name) return true;
    const auto text = read_small_file(path);
    if (!text) return false;
    for (const std::string_view raw : split(*text, '\n')) {
        const std::string_view line = trim(raw);
        if (!line.empty() && line[0] != '#') return line[0] == '[' && line.back() == ']';
    }
    return false;
}

struct Listing {
    std::vector<std::string> names;        ///< ending in ".conf", sorted
    std::vector<std::string> passed_over;  ///< with their path, sorted
};

/// nullopt if there is no such directory.
Result<std::optional<Listing>> list_conf(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
    if (!directory) {
        if (errno == ENOENT) return std::optional<Listing>();
        return system_error(ErrorKind::path_open,
                            "unable to list file info for path '" + path + "'", errno);
    }
    Listing listing;
    while (const dirent* entry = readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        const std::string file = path + "/" + entry->d_name;
        if (name.size() > 5 && name.ends_with(".conf"))
            listing.names.emplace_back(name);
        else if (looks_included(file, name))
            listing.passed_over.push_back(file);
    }
    std::sort(listing.names.begin(), listing.names.end());
    std::sort(listing.passed_over.begin(), listing.passed_over.end());
    return std::optional(std::move(listing));
}

Result<> append_included(const std::string& path, bool required, FileContent& content) {
    auto listing = CHRONOS_TRY(list_conf(path));
    if (!listing && required)
        return Error(ErrorKind::path_missing,
                     "unable to list file info for missing path '" + path + "'");
    if (!listing) return {};
    for (const std::string& name : listing->names)
        CHRONOS_TRY(read_if_there(path + "/" + name, content));
    content.passed_over = std::move(listing->passed_over);
    return {};
}

Result<> load_first(const std::vector<std::string>& candidates, FileContent& content) {
    for (const std::string& candidate : candidates) {
        if (!CHRONOS_TRY(read_if_there(candidate, content))) continue;
        content.main_file = candidate;
        return {};
    }
    return {};
}

/// Encodings that begin with bytes nobody sees, and that no line can be read in.
std::string encoding_of(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF"))
        return "The file begins with a byte order mark: save it as UTF-8 without one.";
    if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
        return "The file is in UTF-16: save it as UTF-8 without a byte order mark.";
    return "";
}

class LineParser {
public:
    Result<> parse(const std::string& file, std::string_view text) {
        std::size_t number = 0;
        section_.reset();  // no file goes on with the section that another one ends in
        for (const std::string_view raw : split(text, '\n')) {
            ++number;
            const std::string_view line = trim(raw);
            if (line.empty() || line[0] == '#') continue;
            auto added = add(file, number, line);
            if (added) continue;
            const std::string hint = encoding_of(text);
            return hint.empty() ? std::move(added).error()
                                : std::move(added).error().with_hint(hint);
        }
        return {};
    }

    ConfigLines take() { return std::move(lines_); }

private:
    Result<> add(const std::string& file, std::size_t number, std::string_view line) {
        const std::string at_line = " at line " + std::to_string(number);
        if (line[0] == '[') {
            if (line.back() != ']')
                return Error(ErrorKind::format,
                             "ini section should end with ]" + at_line + ": " + printable(line));
            section_ = std::string(line.substr(1, line.size() - 2));
            if (section_->empty())
                return Error(ErrorKind::format, "invalid empty section" + at_line + ": []");
            lines_.sections.push_back({.name = *section_, .file = file, .line = number});
            return {};
        }
        const std::size_t equal = line.find('=');
        // The text of a line is not repeated from here on: it may be half of a secret.
        if (equal == std::string_view::npos)
            return Error(ErrorKind::format, "missing '=' in key/value" + at_line);
        const std::string key = printable(trim(line.substr(0, equal)));
        if (!section_)
            return Error(ErrorKind::format,
                         "key/value found outside of section" + at_line + ": " + key);
        if (key.empty()) return Error(ErrorKind::format, "key is zero-length" + at_line);
        const std::string_view value = trim(line.substr(equal + 1));
        if (value.empty())
            return Error(ErrorKind::option_invalid_value,
                         "section '" + *section_ + "', key '" + key + "' must have a value");
        lines_.entries.push_back({.section = *section_,
                                  .key = key,
                                  .value = std::string(value),
                                  .file = file,
                                  .line = number});
        return {};
    }

    std::optional<std::string> section_;
    ConfigLines lines_;
};

std::string directory_of(const std::string& path) {
    return path.substr(0, path.rfind('/'));
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, mode_t* mode, std::size_t size_max) {
    const os::FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid()) return open_error(path, errno, 0640);
    struct stat status = {};
    if (fstat(file.get(), &status) == 0 && S_ISDIR(status.st_mode))
        return Error(ErrorKind::file_open, "unable to read '" + path + "': it is a directory");
    if (mode != nullptr) *mode = status.st_mode;
    return os::read_to_end(file.get(), path, size_max);
}

Result<std::vector<FileEntry>> parse_config_text(std::string_view text) {
    LineParser parser;
    CHRONOS_TRY(parser.parse("", text));
    return parser.take().entries;
}

Result<ConfigLines> parse_config_files(const FileContent& content) {
    LineParser parser;
    for (const FileContent::File& file : content.files)
        if (auto parsed = parser.parse(file.path, file.text); !parsed)
            return std::move(parsed).error().while_doing("read configuration file '" + file.path +
                                                         "'");
    return parser.take();
}

Result<FileContent> load_config_files(const FileSearch& search) {
    FileContent content;
    if (!search.config.empty()) {
        content.main_file = search.config;
        if (!CHRONOS_TRY(read_if_there(search.config, content)))
            return open_error(search.config, ENOENT, 0640);
    } else if (search.no_config) {
        // Nothing but what is named below.
    } else if (!search.config_path.empty()) {
        CHRONOS_TRY(load_first(
            {search.config_path + "/chronos.conf", search.config_path + "/pgbackrest.conf"},
            content));
    } else {
        CHRONOS_TRY(load_first({std::begin(kMainFiles), std::end(kMainFiles)}, content));
    }
    if (!search.include_path.empty()) {
        CHRONOS_TRY(append_included(search.include_path, /*required=*/true, content));
    } else if (!search.config_path.empty()) {
        CHRONOS_TRY(append_included(search.config_path + "/conf.d", /*required=*/false, content));
    } else if (search.config.empty() && !search.no_config) {
        // Beside the file that was found, so that one tool's directory does not leak into the
        // other's file; pgBackRest's own when there is none, or only the old single file.
        const std::string directory =
            content.main_file == kMainFiles[0] ? directory_of(kMainFiles[0]) : "/etc/pgbackrest";
        CHRONOS_TRY(append_included(directory + "/conf.d", /*required=*/false, content));
    }
    return content;
}

std::vector<std::string> unread_places(const FileSearch& search, const FileContent& content) {
    std::vector<std::string> warnings;
    if (!search.config_path.empty() && content.files.empty())
        warnings.push_back("no configuration file is in '" + printable(search.config_path) +
                           "'\nHINT: config-path is where chronos.conf, pgbackrest.conf and "
                           "conf.d/*.conf are looked for.");
    if (search.config.empty() || !search.config_path.empty() || !search.include_path.empty())
        return warnings;
    const std::string beside = directory_of(search.config) + "/conf.d";
    const auto listing = list_conf(beside);
    if (listing && *listing && !(*listing)->names.empty())
        warnings.push_back("directory '" + printable(beside) +
                           "' is not read\nHINT: Of a file that is named (--config, "
                           "chronos.config_file) only that file counts; config-include-path names "
                           "a directory.");
    return warnings;
}

}  // namespace chronos::config
