#include "chronos/repo/side/outside_config.h"
#include "chronos/storage/posix/posix_storage.h"

#include <filesystem>
#include <fstream>

#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

namespace fs = std::filesystem;

std::string write_file(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
}

OutsideConfig some_config() {
    OutsideConfig config;
    config.server.config_file = "/etc/postgresql/15/main/postgresql.conf";
    config.server.hba_file = "/etc/a file\nwith any name";
    config.server.hosts_file = "/etc/postgresql/19/main/pg_hosts.conf";
    config.files = {{config.server.config_file, "port = 5432\n"},
                    {config.server.hba_file, std::string("\0\xFF\n3 4 5\n", 9)},
                    {"/etc/empty.conf", ""}};
    config.directories = {"/etc/postgresql/15/main/conf.d"};
    return config;
}

TEST(OutsideConfig, ComesBackWhateverItContains) {
    const auto parsed = parse_outside_config(format_outside_config(some_config()));
    ASSERT_OK(parsed);
    EXPECT_EQ(*parsed, some_config());
}

TEST(OutsideConfig, DamageIsNoticedAndHarmless) {
    const std::string good = format_outside_config(some_config());
    for (std::size_t size = 0; size + 1 < good.size(); ++size) {
        const auto parsed = parse_outside_config(std::string_view(good).substr(0, size));
        EXPECT_TRUE(!parsed || *parsed != some_config()) << size;
    }
    EXPECT_ERROR(ErrorKind::format,
                 parse_outside_config("chronos outside configuration 1\nfile 99999999999999999999 "
                                      "1\nx"));
    EXPECT_ERROR(ErrorKind::format, parse_outside_config("chronos outside configuration 1\nfile "
                                                         "18446744073709551615 2\nxyz"));
}

TEST(OutsideConfig, OnlyWhatLiesOutsideIsFound) {
    const test::TemporaryDirectory directory;
    const fs::path root = directory.path();
    const auto write = [&](const char* name, const std::string& text) {
        return write_file(root / name, text);
    };
    const std::string inside = write("data/postgresql.conf", "include '../etc/more.conf'\n");
    const std::string more =
        write("etc/more.conf", "include_dir = 'conf.d'\ninclude_dir = 'empty.d/'\n");
    fs::create_directories(root / "etc/empty.d");
    const std::string part = write("etc/conf.d/part.conf", "work_mem = 1MB\n");
    const std::string hba = write("etc/pg_hba.conf", "local all all trust\n");
    std::vector<std::string> unread;
    const OutsideConfig config =
        find_outside_config({inside, hba, root / "etc/none", ""}, root / "data", unread);
    EXPECT_EQ(config.server.config_file, "");
    EXPECT_EQ(config.server.hba_file, hba);
    ASSERT_EQ(config.files.size(), 3u);
    EXPECT_EQ(config.files[0].path, more);
    EXPECT_EQ(config.files[1].path, part);
    EXPECT_EQ(config.files[1].content, "work_mem = 1MB\n");
    EXPECT_EQ(config.directories, (std::vector<std::string>{(root / "etc/conf.d").string(),
                                                            (root / "etc/empty.d").string()}));
    EXPECT_EQ(unread, std::vector<std::string>{(root / "etc/none").string()});
}

TEST(OutsideConfig, WhatTheRulesOfAccessIncludeIsFoundToo) {
    const test::TemporaryDirectory directory;
    const fs::path root = directory.path();
    const auto write = [&](const char* name, const std::string& text) {
        return write_file(root / name, text);
    };
    // The rules of this cluster lie in its directory, and name what does not.
    const std::string hba = write("data/pg_hba.conf",
                                  "include_dir ../etc/hba.d\nlocal all @../etc/users peer\n"
                                  "include inside\n");
    write("data/inside", "");
    const std::string ident = write("etc/pg_ident.conf", "include more\n");
    const std::string rules = write("etc/hba.d/1.conf", "");
    const std::string users = write("etc/users", "me");
    const std::string more = write("etc/more", "");
    std::vector<std::string> unread;
    const OutsideConfig config = find_outside_config({"", hba, ident, ""}, root / "data", unread);
    std::vector<std::string> paths;
    for (const OutsideFile& file : config.files) paths.push_back(file.path);
    EXPECT_EQ(paths, (std::vector<std::string>{rules, users, ident, more}));
    EXPECT_EQ(config.directories, std::vector<std::string>{(root / "etc/hba.d").string()});
    EXPECT_EQ(config.server.hba_file, "");
    EXPECT_EQ(config.server.ident_file, ident);
    EXPECT_TRUE(unread.empty());
}

// As releases before 0.2.0 wrote them.
TEST(OutsideConfig, RecordsThatNameNoDirectoriesHaveThoseOfTheirFiles) {
    const test::TemporaryDirectory directory;
    Repository repository;
    repository.storage = storage::make_posix_storage(directory.path());
    ASSERT_OK(storage::write_object(*repository.storage, "backup/main/backup.info", "some stanza"));
    OutsideConfig config;
    config.server.config_file = "/etc/postgresql/15/main/postgresql.conf";
    config.files = {{config.server.config_file,
                     "data_directory = '/srv/data'\ninclude_dir 'conf.d'\n"
                     "include_dir '/srv/data/parts'\n"},
                    {"/etc/postgresql/15/main/pg_hba.conf", "local all all peer\n"}};
    ASSERT_OK(save_outside_config(repository, "main", "20261120-075745F", config, ""));
    const auto loaded = load_outside_config(repository, "main", "20261120-075745F", "");
    ASSERT_OK(loaded);
    EXPECT_EQ(loaded->directories, std::vector<std::string>{"/etc/postgresql/15/main/conf.d"});
}

}  // namespace
}  // namespace chronos::repo
