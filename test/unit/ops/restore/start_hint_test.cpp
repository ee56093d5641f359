#include "ops/restore/start_hint.h"

#include <gmock/gmock.h>

#include <map>

namespace chronos::ops {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kConfig = "/etc/postgresql/17/main/postgresql.conf";
constexpr const char* kData = "/var/lib/postgresql/17/main";

/// A machine that has these files.
pgdata::ConfigSource machine(std::map<std::string, std::string> files) {
    pgdata::ConfigSource source;
    source.read = [files](const std::string& path) -> Result<std::optional<std::string>> {
        const auto found = files.find(path);
        return found == files.end() ? std::nullopt : std::optional(found->second);
    };
    source.list = [](const std::string&) -> Result<std::optional<std::vector<std::string>>> {
        return std::optional<std::vector<std::string>>{};
    };
    return source;
}

repo::OutsideConfig kept(const std::string& config_file) {
    repo::OutsideConfig config;
    config.server.config_file = config_file;
    config.files = {{config_file, "data_directory = '" + std::string(kData) + "'\nport = 5433\n"}};
    return config;
}

std::string hint(const std::string& config_file, const std::string& directory,
                 const pgdata::ConfigSource& now) {
    return start_hint(directory, directory + "/chronos_config", kept(config_file), now);
}

TEST(StartHint, ClusterOfPackagesIsStartedByPgCtlcluster) {
    const auto now = machine({{kConfig, "data_directory = '" + std::string(kData) + "'"}});
    EXPECT_THAT(hint(kConfig, kData, now),
                EndsWith("To start the server: pg_ctlcluster 17 main start"));
}

TEST(StartHint, LostConfigurationIsPutBackFirst) {
    EXPECT_THAT(hint(kConfig, kData, machine({})),
                EndsWith("as root: mkdir -p /etc/postgresql/17 && cp -a "
                         "/var/lib/postgresql/17/main/chronos_config/etc/postgresql/17/main "
                         "/etc/postgresql/17/ && pg_ctlcluster 17 main start"));
}

// pg_ctlcluster would start the directory that the configuration names, which is not this one.
TEST(StartHint, CopyOfAClusterIsNotStartedAsTheOriginal) {
    const auto now = machine({{kConfig, "data_directory = '" + std::string(kData) + "'"}});
    for (const auto& source : {now, machine({})}) {
        const std::string text = hint(kConfig, "/srv/copy", source);
        EXPECT_THAT(text, Not(HasSubstr("pg_ctlcluster")));
        EXPECT_THAT(text, HasSubstr("/usr/lib/postgresql/17/bin/pg_ctl -D /srv/copy -w -o "));
        EXPECT_THAT(text,
                    HasSubstr("config_file=/srv/copy/chronos_config/etc/postgresql/17/main/"));
    }
}

TEST(StartHint, OtherLayoutsAreStartedByPgCtl) {
    for (const char* config_file : {"/etc/pg/postgresql.conf", "/etc/postgresql/17/main/other.conf",
                                    "/etc/postgresql/x/main/postgresql.conf"}) {
        const std::string text = hint(config_file, kData, machine({}));
        EXPECT_THAT(text, Not(HasSubstr("pg_ctlcluster"))) << text;
        EXPECT_THAT(text, HasSubstr(": pg_ctl -D /var/lib/postgresql/17/main -w -o ")) << text;
    }
}

}  // namespace
}  // namespace chronos::ops
