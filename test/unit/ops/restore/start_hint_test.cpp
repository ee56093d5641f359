#include "ops/restore/start_hint.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "temporary_directory.h"

namespace chronos::ops::restore {
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
                EndsWith("To start the server:\n    pg_ctlcluster 17 main start\n"));
}

TEST(StartHint, LostConfigurationIsPutBackFirst) {
    EXPECT_THAT(hint(kConfig, kData, machine({})),
                EndsWith("as root:\n    mkdir -p /etc/postgresql/17 && cp -a "
                         "/var/lib/postgresql/17/main/chronos_config/etc/postgresql/17/main "
                         "/etc/postgresql/17/ && pg_ctlcluster 17 main start\n"));
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
        EXPECT_THAT(text, HasSubstr(":\n    pg_ctl -D /var/lib/postgresql/17/main -w -o ")) << text;
    }
}

/// A cluster of packages with what its files include, inside of its directory and outside.
repo::OutsideConfig with_includes() {
    repo::OutsideConfig config;
    const std::string etc = "/etc/postgresql/17/main/";
    config.server = {kConfig, etc + "pg_hba.conf", etc + "pg_ident.conf", ""};
    config.files = {{kConfig, "data_directory = '" + std::string(kData) +
                                  "'\ninclude_dir conf.d\ninclude '/etc/shared/s.conf'\n"},
                    {"/etc/shared/s.conf", "include '/srv/x/deep/y.conf'\n"},
                    {"/srv/x/deep/y.conf", ""},
                    {etc + "pg_hba.conf", "include_dir hba.d\nlocal all @/etc/shared/users peer\n"},
                    {etc + "hba.d/1.conf", ""},
                    {"/etc/shared/users", "me"},
                    {etc + "pg_ident.conf", "include_dir /etc/maps\n"}};
    config.directories = {etc + "conf.d", etc + "hba.d", "/etc/maps"};
    return config;
}

/// The machine of `config` without what begins with one of `gone`.
pgdata::ConfigSource machine_without(const repo::OutsideConfig& config,
                                     const std::vector<std::string>& gone) {
    pgdata::ConfigSource source;
    const auto is_gone = [gone](const std::string& path) {
        return std::ranges::any_of(gone, [&](const auto& one) { return path.starts_with(one); });
    };
    std::map<std::string, std::string> files;
    for (const repo::OutsideFile& file : config.files)
        if (!is_gone(file.path)) files[file.path] = file.content;
    source.read = machine(files).read;
    source.list = [=](const std::string& path) -> Result<std::optional<std::vector<std::string>>> {
        if (is_gone(path)) return std::optional<std::vector<std::string>>{};
        if (path == "/etc" || path == "/srv" || path == "/etc/postgresql" || path == "/")
            return std::optional(std::vector<std::string>{});
        return repo::kept_config_source(config).list(path);
    };
    return source;
}

std::string hint_without(const std::string& directory, const std::vector<std::string>& gone) {
    const repo::OutsideConfig config = with_includes();
    return start_hint(directory, directory + "/chronos_config", config,
                      machine_without(config, gone));
}

TEST(StartHint, EachLostFileIsPutBackAndNothingElse) {
    const std::string place = std::string(kData) + "/chronos_config";
    EXPECT_THAT(hint_without(kData, {}),
                EndsWith("To start the server:\n    pg_ctlcluster 17 main start\n"));
    EXPECT_THAT(hint_without(kData, {"/etc/shared/users"}),
                EndsWith("as root:\n    cp -a " + place +
                         "/etc/shared/users /etc/shared/ && "
                         "pg_ctlcluster 17 main start\n"));
    EXPECT_THAT(hint_without(kData, {"/etc/postgresql/17/main/conf.d"}),
                EndsWith("as root:\n    cp -a " + place +
                         "/etc/postgresql/17/main/conf.d "
                         "/etc/postgresql/17/main/ && pg_ctlcluster 17 main start\n"));
    EXPECT_THAT(
        hint_without(kData, {"/etc/shared", "/etc/maps", "/etc/postgresql/17", "/srv/x"}),
        EndsWith("as root:\n    cp -a " + place + "/etc/maps " + place +
                 "/etc/shared /etc/ && "
                 "mkdir -p /etc/postgresql/17 && cp -a " +
                 place +
                 "/etc/postgresql/17/main /etc/postgresql/17/ && mkdir -p /srv/x && cp -a " +
                 place + "/srv/x/deep /srv/x/ && pg_ctlcluster 17 main start\n"));
}

// Relative includes are found beside the copies, absolute ones are not.
TEST(StartHint, ACopyNeedsOnlyWhatItsFilesNameAbsolutely) {
    const std::string text = hint_without("/srv/copy", {"/etc/shared", "/etc/postgresql/17"});
    EXPECT_THAT(text,
                HasSubstr("as root:\n    cp -a /srv/copy/chronos_config/etc/shared /etc/\nand "
                          "then, as the owner of the data directory:\n    /usr/lib/"));
    EXPECT_THAT(hint_without("/srv/copy", {"/etc/postgresql/17"}), Not(HasSubstr("as root")));
}

TEST(StartHint, FilesOutsideOfAConfigurationInsideArePutBack) {
    repo::OutsideConfig config;
    config.files = {{"/etc/shared/s.conf", ""}};
    const std::string file = std::string(kData) + "/postgresql.conf";
    const std::string text = "include '/etc/shared/s.conf'\n";
    const auto hint_on = [&](const std::map<std::string, std::string>& files) {
        return start_hint(kData, std::string(kData) + "/chronos_config", config, machine(files));
    };
    EXPECT_EQ(hint_on({{file, text}, {"/etc/shared/s.conf", ""}}), "");
    EXPECT_EQ(hint_on({{file, "port = 1\n"}}), "");
    EXPECT_THAT(hint_on({{file, text}}),
                EndsWith("as root:\n    mkdir -p /etc && cp -a " + std::string(kData) +
                         "/chronos_config/etc/shared /etc/\nand then, as the owner of the data "
                         "directory:\n    pg_ctl -D /var/lib/postgresql/17/main -w start\n"));
}

TEST(StartHint, WhatNoCopyHasIsNamed) {
    const auto now = machine({{std::string(kData) + "/pg_hba.conf", "include /etc/more\n"}});
    EXPECT_THAT(start_hint(kData, std::string(kData) + "/chronos_config", {}, now),
                EndsWith("neither here nor kept beside the backup: /etc/more is not there\n"));
}

TEST(StartHint, ADirectoryBehindALinkIsTheSame) {
    const test::TemporaryDirectory directory;
    const std::string root = directory.path();
    std::filesystem::create_directories(root + "/real/d");
    std::filesystem::create_directory_symlink(root + "/real", root + "/link");
    EXPECT_TRUE(is_same_directory(root + "/link/d", root + "/real/d/"));
    EXPECT_TRUE(is_same_directory(root + "/link/new", root + "/real/new"));
    EXPECT_FALSE(is_same_directory(root + "/link/d", root + "/real"));
    EXPECT_FALSE(is_same_directory("", root));
    const auto now = machine({{kConfig, "data_directory = '" + root + "/link/d'"}});
    EXPECT_THAT(hint(kConfig, root + "/real/d", now), EndsWith("pg_ctlcluster 17 main start\n"));
}

}  // namespace
}  // namespace chronos::ops::restore
