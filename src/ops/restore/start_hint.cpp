#include "ops/restore/start_hint.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "chronos/base/quote.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/auth_config.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

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

/// What a server here reads: what is on this machine, and of what is not what was kept.
class FilesAtStart {
public:
    /// `place` has the copies; a server may be started with those there as well.
    FilesAtStart(const std::string& place, const repo::OutsideConfig& outside,
                 const pgdata::ConfigSource& now)
        : place_(place), now_(now), kept_(repo::kept_config_source(outside)) {}

    pgdata::ConfigSource source() {
        return {[this](const std::string& path) { return look(path, now_.read, kept_.read); },
                [this](const std::string& path) { return look(path, now_.list, kept_.list); }};
    }
    /// What was asked for and is not here, but kept.
    const std::vector<std::string>& missing() const { return missing_; }

private:
    template <class Answer>
    Answer look(const std::string& given, const std::function<Answer(const std::string&)>& now,
                const std::function<Answer(const std::string&)>& kept) {
        std::string path = fs::path(given).lexically_normal().string();
        if (path.ends_with('/')) path.pop_back();
        if (path.starts_with(place_ + "/")) return kept(path.substr(place_.size()));
        auto here = now(path);
        if (!here || *here) return here;
        auto copy = kept(path);
        if (copy && *copy && std::ranges::find(missing_, path) == missing_.end())
            missing_.push_back(path);
        return copy;
    }

    const std::string& place_;
    const pgdata::ConfigSource& now_;
    pgdata::ConfigSource kept_;
    std::vector<std::string> missing_;
};

/// What a server that is started with `server` does not find.
struct Missing {
    std::vector<std::string> kept;
    /// What pg_hba.conf and its like name and nobody has, for people. Of postgresql.conf the plan
    /// has said it.
    std::vector<std::string> lost;
};

Missing missing_files(const std::string& directory, const ServerFiles& server, FilesAtStart files) {
    const auto in_directory = [&](const std::string& path, const char* name) {
        return path.empty() ? directory + "/" + name : path;
    };
    const pgdata::ConfigSource source = files.source();
    pgdata::read_server_config(in_directory(server.config_file, "postgresql.conf"),
                               directory + "/postgresql.auto.conf", source);
    Missing missing;
    for (const std::string& file : {in_directory(server.hba_file, "pg_hba.conf"),
                                    in_directory(server.ident_file, "pg_ident.conf"),
                                    in_directory(server.hosts_file, "pg_hosts.conf")})
        for (const std::string& problem : pgdata::read_auth_files(file, source))
            if (problem != pgdata::not_there(file)) missing.lost.push_back(problem);
    missing.kept = files.missing();
    return missing;
}

/// A command that puts them where they were, and touches nothing that is there: not even the mode
/// of a directory.
std::string put_back(const std::vector<std::string>& missing, const std::string& place,
                     const pgdata::ConfigSource& now) {
    const auto is_here = [&](const fs::path& directory) {
        const auto names = now.list(directory);
        return !names || names->has_value();
    };
    // The whole directory where there is none.
    std::set<fs::path> wholes;
    for (const fs::path path : missing)
        wholes.insert(is_here(path.parent_path()) ? path : path.parent_path());
    std::map<fs::path, std::vector<fs::path>> by_parent;
    for (const fs::path& whole : wholes) {
        bool in_another = false;
        for (fs::path above = whole.parent_path(); above != above.parent_path() && !in_another;
             above = above.parent_path())
            in_another = wholes.contains(above);
        if (!in_another) by_parent[whole.parent_path()].push_back(whole);
    }
    std::vector<std::string> commands;
    for (const auto& [parent, contents] : by_parent) {
        if (!is_here(parent)) commands.push_back("mkdir -p " + shell_word(parent.string()));
        std::string copy = "cp -a";
        for (const fs::path& path : contents) copy += " " + shell_word(place + path.string());
        commands.push_back(copy + " " + shell_word((parent / "").string()));
    }
    return join(commands, " && ");
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

/// `lost` gets Missing::lost.
std::string how_to_start(const std::string& directory, const std::string& place,
                         const repo::OutsideConfig& outside, const pgdata::ConfigSource& now,
                         std::vector<std::string>& lost) {
    const std::string& config_file = outside.server.config_file;
    const auto cluster = packaged_cluster(config_file);
    FilesAtStart files(place, outside, now);
    const bool is_its_own =
        cluster && is_same_directory(pgdata::read_server_config(config_file, "", files.source())
                                         .value_of("data_directory", ""),
                                     directory);
    const bool in_place = is_its_own || config_file.empty();
    ServerFiles server = outside.server;
    for (const ServerFileSetting& setting : kServerFileSettings)
        if (std::string& path = server.*setting.path; !in_place && !path.empty())
            path.insert(0, place);
    const Missing missing = missing_files(directory, server, FilesAtStart(place, outside, now));
    lost = missing.lost;
    if (missing.kept.empty() && is_its_own)
        return "the configuration of this cluster lies in '" + cluster->directory() +
               "', and as it was at the backup in '" + place + "'. To start the server:\n    " +
               cluster->start() + "\n";
    if (missing.kept.empty() && in_place) return "";
    std::string text = config_file.empty() ? "files of the configuration of this cluster"
                                           : "the configuration of this cluster";
    text += " lay outside of its data directory; as it was at the backup it is in '" + place +
            "'. To start the server with that";
    const std::string first =
        missing.kept.empty() ? "" : ", as root:\n    " + put_back(missing.kept, place, now);
    if (is_its_own) return text + first + " && " + cluster->start() + "\n";
    const std::string program =
        cluster ? "/usr/lib/postgresql/" + cluster->version + "/bin/pg_ctl" : "pg_ctl";
    const std::string start = in_place ? program + " -D " + shell_word(directory) + " -w start"
                                       : start_with_copies(program, directory, place, outside);
    text += first.empty() ? ":" : first + "\nand then, as the owner of the data directory:";
    return text + "\n    " + start + "\n";
}

}  // namespace

bool is_same_directory(const std::string& a, const std::string& b) {
    std::error_code code;
    const fs::path real_a = fs::weakly_canonical(fs::path(a) / "", code);
    if (code) return a == b;
    const fs::path real_b = fs::weakly_canonical(fs::path(b) / "", code);
    return code ? a == b : real_a == real_b;
}

std::string start_hint(const std::string& directory, const std::string& place,
                       const repo::OutsideConfig& outside, const pgdata::ConfigSource& now) {
    std::vector<std::string> lost;
    std::string text = how_to_start(directory, place, outside, now, lost);
    if (!lost.empty())
        text +=
            "before that make again what pg_hba.conf or pg_ident.conf name, and is neither here "
            "nor kept beside the backup: " +
            join(lost, ", ") + "\n";
    return text;
}

}  // namespace chronos::ops::restore
