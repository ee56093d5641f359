#pragma once

#include <array>
#include <string>
#include <string_view>

namespace chronos {

/// The files that a server reads its settings and its rules of access from, as the settings of
/// these names have them; "" for one that is not known, or that this version does not have.
struct ServerFiles {
    std::string config_file;
    std::string hba_file;
    std::string ident_file;
    std::string hosts_file;  ///< since 19: certificates by the name that a client asks for
    bool operator==(const ServerFiles&) const = default;
};

struct ServerFileSetting {
    std::string_view name;
    std::string ServerFiles::*path;
};
inline constexpr std::array kServerFileSettings = {
    ServerFileSetting{"config_file", &ServerFiles::config_file},
    ServerFileSetting{"hba_file", &ServerFiles::hba_file},
    ServerFileSetting{"ident_file", &ServerFiles::ident_file},
    ServerFileSetting{"hosts_file", &ServerFiles::hosts_file},
};

}  // namespace chronos
