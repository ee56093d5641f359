#include "start_hint.h"

#include <optional>
#include <vector>

#include "chronos/base/quote.h"
#include "chronos/base/text.h"

namespace chronos::ops {
namespace {

/// /etc/postgresql/<version>/<name>/postgresql.conf, where postgresql-common has it.
struct PackagedCluster {
    std::string version;
    std::string name;

    std::string directory() const { return "/etc/postgresql/" + version + "/" + name; }
    std::string start() const {
        return "pg_ctlcluster " + shell_word(version) + " " + shell_word(name) + " start";
    }
};

std::optional<PackagedCluster> packaged_cluster(const std::string& config_file) {
    const std::vector<std::string_view> parts = split(config_file, '/');
    if (parts.size() != 6 || parts[0] != "" || parts[1] != "etc" || parts[2] != "postgresql" ||
        !parse_uint(parts[3]) || parts[4].empty() || parts[5] != "postgresql.conf")
        return std::nullopt;
    return PackagedCluster{std::string(parts[3]), std::string(parts[4])};
}

/// "" if the file is not there or does not say.
std::string data_directory_of(const std::string& config_file, const pgdata::ConfigSource& source) {
    return pgdata::read_server_config(config_file, "", source).value_of("data_directory", "");
}

/// Starts the server with the files in `place`, whatever is elsewhere.
std::string start_with_copies(const std::string& program, const std::string& directory,
                              const std::string& place, const repo::OutsideConfig& outside) {
    std::string options;
    const auto add = [&](std::string_view name, const std::string& value) {
        options += (options.empty() ? "-c " : " -c ") + std::string(name) + "=" + shell_word(value);
    };
    for (const ServerFileSetting& setting : kServerFileSettings)
        if (!(outside.server.*setting.path).empty())
            add(setting.name, place + outside.server.*setting.path);
    add("data_directory", directory);
    // The original may be running: that file tells systemd which process it is.
    add("external_pid_file", "");
    return program + " -D " + shell_word(directory) + " -w -o " + shell_word(options) + " start";
}

}  // namespace

std::string start_hint(const std::string& directory, const std::string& place,
                       const repo::OutsideConfig& outside, const pgdata::ConfigSource& now) {
    const std::optional<PackagedCluster> cluster = packaged_cluster(outside.server.config_file);
    const auto present = now.read(outside.server.config_file);
    const bool is_there = !present || present->has_value();
    if (cluster && is_there && data_directory_of(outside.server.config_file, now) == directory)
        return "the configuration of this cluster lies in '" + cluster->directory() +
               "', and as it was at the backup in '" + place +
               "'. To start the server: " + cluster->start();
    const std::string was_outside =
        "the configuration of this cluster lay outside of its data directory; as it was at the "
        "backup it is in '" +
        place + "'. To start the server with that";
    if (cluster && !is_there &&
        data_directory_of(outside.server.config_file, repo::kept_config_source(outside)) ==
            directory)
        return was_outside + ", as root: mkdir -p " +
               shell_word("/etc/postgresql/" + cluster->version) + " && cp -a " +
               shell_word(place + cluster->directory()) + " " +
               shell_word("/etc/postgresql/" + cluster->version + "/") + " && " + cluster->start();
    const std::string program =
        cluster ? "/usr/lib/postgresql/" + cluster->version + "/bin/pg_ctl" : "pg_ctl";
    return was_outside + ": " + start_with_copies(program, directory, place, outside);
}

}  // namespace chronos::ops
