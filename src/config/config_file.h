#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::config {

/// One `key=value` of a configuration file, and the section above it.
struct FileEntry {
    std::string section;
    std::string key;
    std::string value;      ///< never empty
    std::string file = {};  ///< "" if it was no file
    std::size_t line = 0;
};

/// The head of a section: an empty one has no entry to know it by.
struct FileSection {
    std::string name;
    std::string file;
    std::size_t line = 0;
};

struct ConfigLines {
    std::vector<FileSection> sections;
    std::vector<FileEntry> entries;
};

/// Reads the dialect of pgBackRest: sections in brackets, lines trimmed, '#' begins a comment line,
/// no quoting. Lines are counted from 1. Source: docs/format/configuration.md, Configuration file.
Result<std::vector<FileEntry>> parse_config_text(std::string_view text);

/// Where the options that name files say to look; each "" if not given.
struct FileSearch {
    std::string config;
    bool no_config = false;
    std::string config_path;
    std::string include_path;
};

struct FileContent {
    struct File {
        std::string path;
        std::string text;
        bool world_readable = false;
    };
    std::string main_file;    ///< "" if none was there
    std::vector<File> files;  ///< the main file, then the included ones in the order of their names
    /// Files that lie among the included ones and are not read, but look as if they should be.
    std::vector<std::string> passed_over;
};

/// All files as if they were one: a section goes on at the beginning of the next, as it does for
/// pgBackRest. Errors name the file.
Result<ConfigLines> parse_config_files(const FileContent& content);

/// Files that need not exist are passed over; one that exists but cannot be read is an error.
Result<FileContent> load_config_files(const FileSearch& search);

/// What somebody who gave these places may take for read and is not: a warning each.
std::vector<std::string> unread_places(const FileSearch& search, const FileContent& content);

/// At most `size_max` bytes of a small file, for configuration and secrets.
Result<std::string> read_small_file(const std::string& path, mode_t* mode = nullptr,
                                    std::size_t size_max = 1 << 20);

}  // namespace chronos::config
