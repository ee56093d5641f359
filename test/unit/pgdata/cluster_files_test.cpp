#include "chronos/pgdata/cluster_files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "chronos/base/log.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::pgdata {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Names = std::vector<std::string>;

/// A made-up data directory. Log lines are caught.
class ListCluster : public testing::Test {
protected:
    ListCluster() {
        request_.pgdata = directory_ / "data";
        request_.tablespace_directory = "PG_15_202209061";
        std::filesystem::create_directories(request_.pgdata);
        before_ =
            set_log_receiver([this](LogLevel, std::string_view text) { log_.emplace_back(text); });
    }
    ~ListCluster() override { set_log_receiver(before_); }

    std::string outside(const std::string& name) { return directory_ / name; }
    void file(const std::string& name, const std::string& content = "") {
        path(std::filesystem::path(name).parent_path());
        std::ofstream(request_.pgdata + "/" + name) << content;
    }
    void files(const Names& names) {
        for (const std::string& name : names) file(name);
    }
    void path(const std::string& name) {
        std::filesystem::create_directories(request_.pgdata + "/" + name);
    }
    void link(const std::string& name, const std::string& destination) {
        path(std::filesystem::path(name).parent_path());
        std::filesystem::create_symlink(destination, request_.pgdata + "/" + name);
    }
    template <class Entry>
    static Names names_of(const std::vector<Entry>& entries) {
        Names names;
        for (const Entry& entry : entries) names.emplace_back(entry.name);
        return names;
    }
    Names listed_files() {
        const auto list = list_cluster(request_);
        return list ? names_of(list->files) : Names{list.error().text()};
    }
    Names listed_paths() {
        const auto list = list_cluster(request_);
        return list ? names_of(list->paths) : Names{list.error().text()};
    }
    void expect_error(ErrorKind kind, const std::string& message) {
        const auto list = list_cluster(request_);
        ASSERT_FALSE(static_cast<bool>(list));
        EXPECT_EQ(list.error().kind(), kind);
        EXPECT_THAT(list.error().message(), HasSubstr(message));
    }

    test::TemporaryDirectory directory_;
    ClusterListRequest request_;
    std::vector<std::string> log_;

private:
    LogReceiver before_;
};

TEST_F(ListCluster, EntriesSayWhatTheManifestRecords) {
    file("PG_VERSION", "15\n");
    ::chmod((request_.pgdata + "/PG_VERSION").c_str(), 0640);
    const timespec times[2] = {{1000000, 0}, {1234567, 999}};
    ::utimensat(AT_FDCWD, (request_.pgdata + "/PG_VERSION").c_str(), times, 0);
    ::chmod(request_.pgdata.c_str(), 0750);
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    ASSERT_EQ(list->files.size(), 1u);
    const ClusterEntry& entry = list->files.front();
    EXPECT_EQ(entry.name, "pg_data/PG_VERSION");
    EXPECT_EQ(entry.size, 3u);
    EXPECT_EQ(entry.timestamp, 1234567);
    EXPECT_EQ(entry.mode, mode_t{0640});
    ASSERT_EQ(list->paths.size(), 1u);
    EXPECT_EQ(list->paths.front().name, "pg_data");
    EXPECT_EQ(list->paths.front().mode, mode_t{0750});
}

TEST_F(ListCluster, OwnerWithoutANameHasNone) {
    file("given");
    // Only root can give a file away; for others the file keeps an owner that has a name.
    const bool given = ::chown((request_.pgdata + "/given").c_str(), 3999999999u, 3999999999u) == 0;
    EXPECT_EQ(given, ::geteuid() == 0);
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    EXPECT_EQ(list->files.front().user.has_value(), !given);
    EXPECT_EQ(list->files.front().group.has_value(), !given);
    EXPECT_TRUE(list->paths.front().user.has_value());
}

// '-' and '.' sort before '/': sorting directory by directory is not enough.
TEST_F(ListCluster, IsSortedByWholeName) {
    files({"a/x", "a-b", "a.c", "b"});
    EXPECT_THAT(listed_files(),
                ElementsAre("pg_data/a-b", "pg_data/a.c", "pg_data/a/x", "pg_data/b"));
}

TEST_F(ListCluster, FilesOfTheRunningServerAreLeftOut) {
    files({"postmaster.pid", "postmaster.opts", "backup_label", "backup_label.old",
           "backup_manifest", "backup_manifest.tmp", "recovery.signal", "standby.signal",
           "postgresql.auto.conf.tmp", "tablespace_map", "current_logfiles.tmp"});
    files({"postgresql.auto.conf", "recovery.conf", "tablespace_map.old", "current_logfiles",
           "pg_internal.init", "log/backup_label"});
    EXPECT_THAT(listed_files(),
                ElementsAre("pg_data/current_logfiles", "pg_data/log/backup_label",
                            "pg_data/pg_internal.init", "pg_data/postgresql.auto.conf",
                            "pg_data/recovery.conf", "pg_data/tablespace_map.old"));
}

TEST_F(ListCluster, TransientDirectoriesAreKeptEmpty) {
    for (const char* name : {"pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots",
                             "pg_stat_tmp", "pg_subtrans"})
        files({std::string(name) + "/file", std::string(name) + "/sub/file"});
    file("elsewhere/pg_notify/file");
    EXPECT_THAT(listed_files(), ElementsAre("pg_data/elsewhere/pg_notify/file"));
    EXPECT_THAT(listed_paths(),
                ElementsAre("pg_data", "pg_data/elsewhere", "pg_data/elsewhere/pg_notify",
                            "pg_data/pg_dynshmem", "pg_data/pg_notify", "pg_data/pg_replslot",
                            "pg_data/pg_serial", "pg_data/pg_snapshots", "pg_data/pg_stat_tmp",
                            "pg_data/pg_subtrans"));
}

TEST_F(ListCluster, WalIsLeftOutOnlyOnline) {
    files({"pg_wal/000000010000000000000001", "pg_wal/archive_status/x.done",
           "pg_wal/summaries/x.summary"});
    request_.online = true;
    EXPECT_THAT(listed_files(), IsEmpty());
    EXPECT_THAT(listed_paths(),
                ElementsAre("pg_data", "pg_data/pg_wal", "pg_data/pg_wal/archive_status",
                            "pg_data/pg_wal/summaries"));
    request_.online = false;
    EXPECT_THAT(listed_files(), ElementsAre("pg_data/pg_wal/000000010000000000000001",
                                            "pg_data/pg_wal/archive_status/x.done",
                                            "pg_data/pg_wal/summaries/x.summary"));
}

TEST_F(ListCluster, TemporaryNamesAreLeftOutEverywhere) {
    files({"pgsql_tmp1", "base/pgsql_tmp/x", "x/pgsql_tmp.y/z", "x/not_pgsql_tmp"});
    link("pgsql_tmp_link", outside("missing"));
    EXPECT_THAT(listed_files(), ElementsAre("pg_data/x/not_pgsql_tmp"));
}

TEST_F(ListCluster, UnloggedRelationsKeepOnlyTheirInitFork) {
    files({"base/5/100", "base/5/100.1", "base/5/100_fsm", "base/5/100_init", "base/5/100_vm.2",
           "base/5/1000", "base/5/100_x", "base/6/100"});
    EXPECT_THAT(listed_files(), ElementsAre("pg_data/base/5/1000", "pg_data/base/5/100_init",
                                            "pg_data/base/5/100_x", "pg_data/base/6/100"));
    request_.unlogged = true;
    EXPECT_EQ(listed_files().size(), 8u) << "no recovery makes them afresh";
}

TEST_F(ListCluster, TemporaryRelationsAndCachesAreLeftOutOfDatabasesOnly) {
    const Names left_out = {"t3_16384",   "t3_16384_fsm",     "t3_16384_vm.1",
                            "t3_16384.2", "pg_internal.init", "pg_internal.init.123"};
    const Names kept = {"t3_16384_init", "t3_", "tx_1", "pg_internal.init2", "t3_16384.x"};
    for (const std::string directory : {"global/", "base/5/", "base/5/sub/"})
        for (const Names& names : {left_out, kept})
            for (const std::string& name : names) file(directory + name);
    const Names listed = listed_files();
    for (const std::string& name : left_out) {
        EXPECT_THAT(listed, testing::Not(testing::Contains("pg_data/base/5/" + name)));
        EXPECT_THAT(listed, testing::Not(testing::Contains("pg_data/global/" + name)));
        EXPECT_THAT(listed, testing::Contains("pg_data/base/5/sub/" + name));
    }
    for (const std::string& name : kept) {
        EXPECT_THAT(listed, testing::Contains("pg_data/base/5/" + name));
        EXPECT_THAT(listed, testing::Contains("pg_data/global/" + name));
    }
}

TEST_F(ListCluster, ExcludedFilesAndContentsAreLeftOutAndLogged) {
    files({"x/y/f", "x/z/f", "x/keep"});
    link("dangling", outside("missing"));
    request_.exclude = {"x/y", "x/z/", "dangling"};
    EXPECT_THAT(listed_files(), ElementsAre("pg_data/x/keep"));
    EXPECT_THAT(
        log_, ElementsAre("exclude '" + request_.pgdata +
                              "/dangling' from backup using 'dangling' exclusion",
                          "exclude '" + request_.pgdata + "/x/y' from backup using 'x/y' exclusion",
                          "exclude contents of '" + request_.pgdata +
                              "/x/z' from backup using 'x/z/' exclusion"));
    EXPECT_THAT(listed_paths(), ElementsAre("pg_data", "pg_data/x", "pg_data/x/z"));
}

TEST_F(ListCluster, ExcludesThatMatchNothingAreWarnedOf) {
    files({"log/x", "pg_replslot/slot"});
    request_.exclude = {request_.pgdata + "/log", " log", "log/*", "log/", "pg_replslot/"};
    EXPECT_THAT(listed_files(), IsEmpty());
    ASSERT_EQ(log_.size(), 5u);
    EXPECT_THAT(log_[2], HasSubstr("exclude '" + request_.pgdata + "/log' matches nothing"));
    EXPECT_THAT(log_[2], HasSubstr("relative to the data directory: 'log'"));
    EXPECT_THAT(log_[3], HasSubstr("exclude ' log' matches nothing"));
    EXPECT_THAT(log_[4], HasSubstr("exclude 'log/*' matches nothing"));
}

TEST_F(ListCluster, ExcludedConfigurationIsLeftOutWithAWarning) {
    files({"pg_hba.conf", "pg_hba.conf.bak"});
    request_.exclude = {"pg_hba.conf", "pg_hba.conf.bak"};
    EXPECT_THAT(listed_files(), IsEmpty());
    EXPECT_THAT(log_, testing::Contains(HasSubstr("the server's 'pg_hba.conf' is excluded")));
}

TEST_F(ListCluster, WhatAServerCannotDoWithoutIsNotExcluded) {
    files({"PG_VERSION", "pg_xact/0000", "base/5/1259"});
    for (const char* exclude : {"",
                                "PG_VERSION",
                                "base",
                                "base/",
                                "base/5",
                                "base/5/",
                                "base/5/PG_VERSION",
                                "base/5/1259",
                                "base/5/1259_fsm",
                                "base/5/1259.1",
                                "base/5/1259_init",
                                "base/5/pg_filenode.map",
                                "global",
                                "global/",
                                "global/pg_control",
                                "global/1260",
                                "global/pg_filenode.map",
                                "pg_xact",
                                "pg_xact/",
                                "pg_xact/0000",
                                "pg_multixact",
                                "pg_multixact/",
                                "pg_multixact/members",
                                "pg_multixact/offsets/0000",
                                "pg_commit_ts/",
                                "pg_twophase",
                                "pg_twophase/0000000000000300",
                                "pg_logical",
                                "pg_logical/mappings",
                                "pg_logical/replorigin_checkpoint",
                                "pg_wal",
                                "pg_notify",
                                "pg_replslot",
                                "pg_tblspc",
                                "pg_tblspc/",
                                "pg_tblspc/16387",
                                "pg_tblspc/16387/",
                                "pg_tblspc/16387/PG_15_202209061",
                                "pg_tblspc/16387/PG_15_202209061/5",
                                "pg_tblspc/16387/PG_15_202209061/5/16390"}) {
        request_.exclude = {"log", exclude};
        const auto list = list_cluster(request_);
        ASSERT_FALSE(static_cast<bool>(list)) << exclude;
        EXPECT_EQ(list.error().kind(), ErrorKind::option_invalid_value);
        EXPECT_THAT(list.error().message(),
                    HasSubstr("exclude '" + std::string(exclude) + "' would take away "));
    }
    for (const char* exclude : {"/",
                                "log",
                                "log/",
                                "core",
                                "lost+found",
                                "base/5/core",
                                "base/5/README",
                                "base/note",
                                "base/5/t3_16384",
                                "global/pg_control.bak",
                                "global/pg_internal.init",
                                "pg_xact/README",
                                "pg_wal/",
                                "pg_wal/archive_status",
                                "pg_wal/junk",
                                "pg_stat/",
                                "pg_stat_tmp/",
                                "pg_replslot/",
                                "pg_logical/mappings/",
                                "pg_logical/snapshots/",
                                "pg_tblspc/junk",
                                "pg_tblspc/16387/note",
                                "postgresql.conf",
                                "postgresql.auto.conf",
                                "mine/base/5"}) {
        request_.exclude = {exclude};
        EXPECT_TRUE(static_cast<bool>(list_cluster(request_))) << exclude;
    }
}

TEST_F(ListCluster, ExcludedDataIsReferredToRestore) {
    request_.exclude = {"base/16400"};
    const auto list = list_cluster(request_);
    ASSERT_FALSE(static_cast<bool>(list));
    EXPECT_THAT(list.error().hint(), HasSubstr("--db-exclude"));
    request_.exclude = {"pg_wal"};
    EXPECT_THAT(list_cluster(request_).error().hint(), HasSubstr("'pg_wal/' leaves out"));
}

TEST_F(ListCluster, SpecialFilesAreLeftOutWithAWarning) {
    ASSERT_EQ(::mkfifo((request_.pgdata + "/pipe").c_str(), 0600), 0);
    EXPECT_THAT(listed_files(), IsEmpty());
    EXPECT_THAT(log_,
                ElementsAre("exclude special file '" + request_.pgdata + "/pipe' from backup"));
}

TEST_F(ListCluster, WhatLinksLeadToIsListedUnderTheLink) {
    std::filesystem::create_directories(outside("logs"));
    std::ofstream(outside("logs/today")) << "x";
    std::ofstream(outside("pg.conf")) << "conf";
    link("log", "../logs");
    link("postgresql.conf", outside("pg.conf"));
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    EXPECT_THAT(names_of(list->files), ElementsAre("pg_data/log/today", "pg_data/postgresql.conf"));
    EXPECT_THAT(names_of(list->paths), ElementsAre("pg_data", "pg_data/log"));
    EXPECT_THAT(names_of(list->links), ElementsAre("pg_data/log", "pg_data/postgresql.conf"));
    EXPECT_EQ(list->links[0].destination, "../logs");
    EXPECT_FALSE(list->links[0].to_file);
    EXPECT_EQ(list->links[1].destination, outside("pg.conf"));
    EXPECT_TRUE(list->links[1].to_file);
    EXPECT_EQ(list->files[1].size, 4u);
    EXPECT_EQ(list->links[1].tablespace_oid, 0u);
}

TEST_F(ListCluster, OfATablespaceOnlyTheDirectoryOfThisVersionIsListed) {
    std::filesystem::create_directories(outside("ts/PG_15_202209061/5"));
    std::filesystem::create_directories(outside("ts/PG_14_202107181/5"));
    std::ofstream(outside("ts/PG_15_202209061/5/100"));
    std::ofstream(outside("ts/PG_15_202209061/5/100_init"));
    std::ofstream(outside("ts/PG_14_202107181/5/100"));
    link("pg_tblspc/16387", outside("ts"));
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    EXPECT_THAT(names_of(list->files), ElementsAre("pg_tblspc/16387/PG_15_202209061/5/100_init"));
    EXPECT_THAT(
        names_of(list->paths),
        ElementsAre("pg_data", "pg_data/pg_tblspc", "pg_tblspc", "pg_tblspc/16387",
                    "pg_tblspc/16387/PG_15_202209061", "pg_tblspc/16387/PG_15_202209061/5"));
    EXPECT_THAT(names_of(list->links), ElementsAre("pg_data/pg_tblspc/16387"));
    EXPECT_EQ(list->links.front().tablespace_oid, 16387u);
    EXPECT_EQ(list->links.front().destination, outside("ts"));
}

TEST_F(ListCluster, TablespaceInPlaceIsListedAsTheDirectoryThatItIs) {
    files({"pg_tblspc/16387/PG_15_202209061/5/100", "pg_tblspc/16387/PG_15_202209061/5/101",
           "pg_tblspc/16387/PG_15_202209061/5/101_init", "pg_tblspc/16387/PG_14_202107181/5/100"});
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    const std::string inside = "pg_data/pg_tblspc/16387/PG_15_202209061";
    EXPECT_THAT(names_of(list->files), ElementsAre(inside + "/5/100", inside + "/5/101_init"));
    EXPECT_THAT(names_of(list->paths),
                ElementsAre("pg_data", "pg_data/pg_tblspc", "pg_data/pg_tblspc/16387", inside,
                            inside + "/5"));
    EXPECT_THAT(names_of(list->links), IsEmpty());
    EXPECT_TRUE(has_page_checksums(inside + "/5/100"));
}

TEST_F(ListCluster, TablespaceWithoutItsDirectoryIsRefused) {
    std::filesystem::create_directories(outside("ts"));
    link("pg_tblspc/16387", outside("ts"));
    expect_error(ErrorKind::file_open, "pg_tblspc/16387/PG_15_202209061");
}

TEST_F(ListCluster, WhatTheCatalogHasIsATablespaceWhateverItLooksLike) {
    link("pg_tblspc/16387", outside("missing"));
    request_.tablespaces = [] { return std::vector<std::uint32_t>{16387}; };
    expect_error(ErrorKind::file_open, "pg_tblspc/16387/PG_15_202209061");
}

TEST_F(ListCluster, WhatIsNoTablespaceIsLeftOutAndNamed) {
    std::filesystem::create_directories(outside("stale/PG_15_202209061/5"));
    std::ofstream(outside("stale/PG_15_202209061/5/100"));
    files({"pg_tblspc/foo", "pg_tblspc/16384.bak/x", "pg_tblspc/016384/x", "pg_tblspc/16400"});
    link("pg_tblspc/99999", "/nowhere");
    link("pg_tblspc/abc", outside("stale"));
    link("pg_tblspc/17000", outside("stale"));
    request_.tablespaces = [] { return std::vector<std::uint32_t>{16400}; };
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    Names left_out;
    for (const LeftOut& entry : list->left_out)
        left_out.push_back(entry.path.substr(request_.pgdata.size() + 1));
    EXPECT_THAT(left_out, ElementsAre("pg_tblspc/016384", "pg_tblspc/16384.bak", "pg_tblspc/16400",
                                      "pg_tblspc/17000", "pg_tblspc/99999", "pg_tblspc/abc",
                                      "pg_tblspc/foo"));
    EXPECT_THAT(names_of(list->files), IsEmpty());
    EXPECT_THAT(names_of(list->links), IsEmpty());
    EXPECT_THAT(names_of(list->paths), ElementsAre("pg_data", "pg_data/pg_tblspc"));
}

TEST_F(ListCluster, WhatCannotBeStoredIsLeftOutWithAllThatIsInIt) {
    std::filesystem::create_directories(outside("ts/PG_15_202209061/5"));
    std::ofstream(outside("ts/PG_15_202209061/5/bad"));
    std::filesystem::create_directories(outside("logs/bad"));
    std::ofstream(outside("logs/good"));
    std::ofstream(outside("logs/bad/x"));
    files({"bad", "good", "dir/bad", "bad.d/bad/x", "bad.d/y"});
    link("pg_tblspc/16387", outside("ts"));
    link("log", outside("logs"));
    link("sub/bad", outside("logs/good"));
    request_.judge_name = [](std::string_view name) -> Result<> {
        if (!name.ends_with("/bad")) return {};
        return Error(ErrorKind::format, "it is bad");
    };
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    EXPECT_THAT(names_of(list->files),
                ElementsAre("pg_data/bad.d/y", "pg_data/good", "pg_data/log/good"));
    EXPECT_THAT(list->left_out, testing::SizeIs(6));
    EXPECT_THAT(list->left_out, testing::Each(testing::Field(&LeftOut::reason, "it is bad")));
}

TEST_F(ListCluster, WhatIsTheFileSystemsOwnIsLeftOut) {
    std::filesystem::create_directories(outside("wal/lost+found/x"));
    files(
        {"lost+found/#12", "base/lost+found/x", ".snapshot/hourly/PG_VERSION", "x/lost+found.txt"});
    link("pg_wal", outside("wal"));
    EXPECT_THAT(listed_files(), ElementsAre("pg_data/x/lost+found.txt"));
    EXPECT_THAT(listed_paths(),
                ElementsAre("pg_data", "pg_data/base", "pg_data/pg_wal", "pg_data/x"));
}

// Also where nothing can be opened: a list is made whole before anybody is told.
TEST_F(ListCluster, AllThatCannotBeReadIsNamedAtOnce) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) FAIL() << "root reads everything";
    const test::TemporaryDirectory own;
    request_.pgdata = own / "data";
    files({"a", "b", "dir/x", "excluded", "postmaster.pid"});
    for (const char* name : {"a", "b", "dir", "excluded", "postmaster.pid"})
        ASSERT_EQ(::chmod((request_.pgdata + "/" + name).c_str(), 0), 0);
    request_.exclude = {"excluded"};
    const auto list = list_cluster(request_);
    ASSERT_EQ(::chmod((request_.pgdata + "/dir").c_str(), 0700), 0);
    std::filesystem::remove_all(request_.pgdata);
    ASSERT_EQ(::seteuid(::getuid()), 0);
    ASSERT_FALSE(static_cast<bool>(list));
    EXPECT_EQ(list.error().kind(), ErrorKind::file_open);
    for (const char* name : {"/a' (owner ", "/b' (owner ", "/dir' (owner ", ", mode 0000)"})
        EXPECT_THAT(list.error().message(), HasSubstr(name));
    EXPECT_THAT(list.error().message(), testing::Not(HasSubstr("excluded")));
    EXPECT_THAT(list.error().hint(), HasSubstr("exclude"));
}

TEST_F(ListCluster, LinkIntoTheDataDirectoryIsRefused) {
    file("base/x");
    link("inner", "base");
    expect_error(ErrorKind::link_destination,
                 "link 'inner' destination '" + request_.pgdata + "/base' is in PGDATA");
}

TEST_F(ListCluster, LinkToALinkIsRefused) {
    std::filesystem::create_directories(outside("a"));
    std::filesystem::create_symlink("a", outside("b"));
    link("log", outside("b"));
    expect_error(ErrorKind::link_destination, "cannot reference another link '" + outside("b"));
}

// What the server does not need is none of a backup's either.
TEST_F(ListCluster, LinkToNothingIsLeftOut) {
    std::filesystem::create_directories(request_.pgdata + "/base/5");
    std::filesystem::create_directories(request_.pgdata + "/pg_wal");
    std::filesystem::create_symlink(outside("around"), outside("round"));
    std::filesystem::create_symlink(outside("round"), outside("around"));
    const std::vector<std::string> names{"a", "base/5/x", "base/x", "log", "pg_wal/x"};
    for (const std::string& name : names) link(name, outside("missing"));
    link("round", outside("round"));
    const auto list = list_cluster(request_);
    ASSERT_OK(list);
    std::vector<std::string> left_out;
    for (const LeftOut& entry : list->left_out) {
        left_out.push_back(entry.path.substr(request_.pgdata.size() + 1));
        EXPECT_EQ(entry.reason, "it is a link that leads nowhere");
    }
    EXPECT_THAT(left_out, testing::UnorderedElementsAre("a", "base/5/x", "base/x", "log",
                                                        "pg_wal/x", "round"));
    EXPECT_TRUE(list->links.empty());
}

TEST_F(ListCluster, LinkToNothingThatTheServerNeedsIsRefused) {
    std::filesystem::create_directories(request_.pgdata + "/base/5");
    std::filesystem::create_directories(request_.pgdata + "/pg_xact");
    for (const char* name : {"base/5/16384", "base/5/16384_fsm", "base/5/PG_VERSION", "base/6",
                             "pg_xact/0000", "pg_multixact"}) {
        link(name, outside("missing"));
        const auto list = list_cluster(request_);
        EXPECT_ERROR(ErrorKind::file_open, list);
        EXPECT_THAT(list.error().message(),
                    HasSubstr("missing path/file '" + request_.pgdata + "/" + name + "'"));
        EXPECT_THAT(list.error().hint(), HasSubstr("mounted"));
        std::filesystem::remove(request_.pgdata + "/" + name);
    }
}

TEST_F(ListCluster, LinksThatMeetAreRefused) {
    std::filesystem::create_directories(outside("a/b"));
    std::ofstream(outside("a/file"));
    struct Case {
        std::string first;
        std::string second;
        std::string relation;
    };
    for (const Case& meeting :
         {Case{"a", "a", "the same directory as"}, Case{"a", "a/b", "a subdirectory of"},
          Case{"a/b", "a", "a subdirectory of"}, Case{"a/file", "a/file", "the same file as"},
          Case{"a", "a/file", "the same directory as"}}) {
        SCOPED_TRACE(meeting.first + " and " + meeting.second);
        link("l1", outside(meeting.first));
        link("l2", outside(meeting.second));
        expect_error(ErrorKind::link_destination, "destination is " + meeting.relation + " link");
        std::filesystem::remove(request_.pgdata + "/l1");
        std::filesystem::remove(request_.pgdata + "/l2");
    }
}

TEST_F(ListCluster, LinksToNeighboursAreAllowed) {
    std::filesystem::create_directories(outside("a"));
    std::filesystem::create_directories(outside("ab"));
    std::filesystem::create_directories(outside("data2"));
    for (const char* name : {"f1", "f2"}) std::ofstream(outside(name));
    link("l1", outside("a"));
    link("l2", outside("ab"));
    link("l3", outside("f1"));
    link("l4", outside("f2"));
    link("l5", outside("data2"));
    EXPECT_OK(list_cluster(request_));
}

// Without the check of link targets this never ends.
TEST_F(ListCluster, LinkUpwardsIsRefused) {
    link("up", "..");
    EXPECT_FALSE(static_cast<bool>(list_cluster(request_)));
}

TEST_F(ListCluster, MissingDataDirectoryIsAnError) {
    request_.pgdata = outside("nowhere");
    expect_error(ErrorKind::file_open, outside("nowhere"));
}

TEST(ManifestNames, TellWhatIsCheckedAndHowFarItIsRead) {
    EXPECT_TRUE(has_page_checksums("pg_data/base/5/1259"));
    EXPECT_TRUE(has_page_checksums("pg_data/base/5/1259_fsm.1"));
    EXPECT_TRUE(has_page_checksums("pg_data/global/1260"));
    EXPECT_TRUE(has_page_checksums("pg_tblspc/16387/PG_15_202209061/5/16396"));
    EXPECT_FALSE(has_page_checksums("pg_data/global/pg_control"));
    EXPECT_TRUE(has_page_checksums("pg_data/base/5/16384_init"));
    // The server has no file of such a name: what somebody has put there has no pages.
    for (const char* stray : {"pg_control", "README", "core", "pg_filenode.map.tmp", "1259.bak",
                              "1259_fsm.", "1259_old", "x1259"})
        EXPECT_FALSE(has_page_checksums("pg_data/base/5/" + std::string(stray))) << stray;
    EXPECT_FALSE(has_page_checksums("pg_data/global/pg_control.bak"));
    EXPECT_FALSE(has_page_checksums("pg_data/base/5/PG_VERSION"));
    EXPECT_FALSE(has_page_checksums("pg_data/global/pg_filenode.map"));
    EXPECT_FALSE(has_page_checksums("pg_data/base/5/sub/1259"));
    EXPECT_FALSE(has_page_checksums("pg_data/base/1259"));
    EXPECT_FALSE(has_page_checksums("pg_data/base/x/1259"));
    EXPECT_FALSE(has_page_checksums("pg_data/PG_VERSION"));
    EXPECT_FALSE(has_page_checksums("pg_tblspc/16387/PG_15_202209061/16396"));

    EXPECT_TRUE(reads_to_listed_size("pg_data/base/5/1259"));
    EXPECT_TRUE(reads_to_listed_size("pg_data/pg_xact/0000"));
    EXPECT_TRUE(reads_to_listed_size("pg_data/pg_multixact/members/0000"));
    EXPECT_TRUE(reads_to_listed_size("pg_tblspc/16387/PG_15_202209061/5/16396"));
    EXPECT_FALSE(reads_to_listed_size("pg_data/log/today"));
    EXPECT_FALSE(reads_to_listed_size("pg_data/baseline"));
}

TEST(ManifestNames, GiveTheFirstBlock) {
    EXPECT_EQ(first_block_of("pg_data/base/5/1259", 8192), 0u);
    EXPECT_EQ(first_block_of("pg_data/base/5/1259.1", 8192), 131072u);
    EXPECT_EQ(first_block_of("pg_data/base/5/1259_fsm.12", 8192), 12u * 131072);
    EXPECT_EQ(first_block_of("pg_data/base/5/1259.1", 32768), 32768u);
    EXPECT_EQ(first_block_of("pg_data/base/5/file.conf", 8192), 0u);
    EXPECT_EQ(first_block_of("pg_data/base.1/5", 8192), 0u);
}

}  // namespace
}  // namespace chronos::pgdata
