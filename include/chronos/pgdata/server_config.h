#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"

/// postgresql.conf, what it includes, and postgresql.auto.conf, read as a server of version 12 or
/// later reads them at its start.
namespace chronos::pgdata {

struct ConfigSetting {
    std::string name;  ///< as it is spelled there; case does not matter
    std::string value;
    std::string place;  ///< "postgresql.conf line 12", for people
};

struct ServerConfig {
    /// In the order in which the server reads them: of several with one name the last one counts.
    std::vector<ConfigSetting> settings;
    /// What the server would not start with, for people: bad lines, files to include that are away.
    std::vector<std::string> problems;
    /// Files and directories that could not be read, and why: what they say is not in `settings`,
    /// and nothing is known of whether the server can read them.
    std::vector<std::string> unread;

    /// The one that counts; nullptr if none sets it.
    const ConfigSetting* find(std::string_view name) const;
    /// Its value, or `otherwise`.
    std::string value_of(std::string_view name, std::string_view otherwise) const;
};

/// Where the files are. Both get absolute paths, or what was relative to no known directory.
struct ConfigSource {
    /// nullopt: there is no such file.
    std::function<Result<std::optional<std::string>>(const std::string& path)> read;
    /// Names in a directory, in any order; nullopt: there is no such directory.
    std::function<Result<std::optional<std::vector<std::string>>>(const std::string& path)> list;
};

/// Files of this machine.
ConfigSource local_config_source();

/// Reads `config_file` and `auto_file`, either of which may be missing.
ServerConfig read_server_config(const std::string& config_file, const std::string& auto_file,
                                const ConfigSource& source);

/// Which names in a directory include_dir takes.
bool is_included_name(std::string_view name);

/// Names of settings are compared so.
bool same_setting(std::string_view a, std::string_view b);

/// The value that `literal`, with its quotes if it has them, stands for; nullopt if the server
/// would refuse it.
std::optional<std::string> parse_config_value(std::string_view literal);

/// As the server reads a boolean; nullopt if it is none.
std::optional<bool> parse_config_bool(std::string_view value);

/// As the server reads a number without a unit: decimal, "0x64", "0144" or "1e2". nullopt if it is
/// none, or negative.
std::optional<std::uint64_t> parse_config_int(std::string_view value);

}  // namespace chronos::pgdata
