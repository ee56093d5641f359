#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chronos/pgdata/server_config.h"

/// pg_hba.conf, pg_ident.conf and, since 19, pg_hosts.conf: of what they say only what else they
/// read is of interest here.
namespace chronos::pgdata {

/// A line of such a file: its fields, and the tokens of each ("a,b" are two).
struct AuthToken {
    std::string text;
    bool quoted = false;  ///< it began with a quote: then an '@' names no file
};
using AuthLine = std::vector<std::vector<AuthToken>>;

/// As the server takes them apart; empty lines and comments are left out.
std::vector<AuthLine> parse_auth_lines(std::string_view text);

/// Reads `file` and what it includes through `source`: include, include_if_exists and include_dir
/// (since 16), and @file, which may stand wherever a name may. Returns what the server wants to be
/// there and is not, for people.
std::vector<std::string> read_auth_files(const std::string& file, const ConfigSource& source);
/// What it returns for `file` itself, for which there may be others to care.
std::string not_there(const std::string& file);

}  // namespace chronos::pgdata
