// docs/format/side-files.md shows the bytes of our own files: they are stored here, and looked for
// there.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "chronos/repo/side/drill.h"
#include "chronos/repo/side/hold.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/side/outside_config.h"
#include "chronos/repo/side/owner.h"
#include "chronos/repo/side/restore_note.h"
#include "chronos/repo/side/turn.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/side_files.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fixtures_directory.h"
#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

using testing::HasSubstr;

std::string page() {
    std::ifstream file(CHRONOS_FIXTURES "/../../docs/format/side-files.md");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/// The keys of a line of JSON whose values are all text, as `"a":"","b":""`.
std::string keys_of(const std::string& json) {
    std::string keys;
    bool value = false;
    for (std::size_t at = 0, quotes = 0; at < json.size(); ++at) {
        if (json[at] == '"') ++quotes;
        value = quotes % 4 == 3 && json[at] != '"';
        if (!value) keys += json[at];
    }
    return keys.substr(0, keys.find('\n'));
}

class SideFiles : public testing::Test {
protected:
    SideFiles() { repository_.storage = std::make_shared<test::MemoryStorage>(); }

    std::string only_object(const std::string& directory) const {
        const auto entries = repository_.storage->list_tree("chronos/main/" + directory);
        return entries && entries->size() == 1
                   ? "chronos/main/" + directory + "/" + (*entries)[0].name
                   : "not one object";
    }
    std::string content(const std::string& name) const {
        auto text = storage::read_object(*repository_.storage, name, 10000);
        return text ? *text : text.error().message();
    }
    /// As the page has it: a block with the name and what is stored.
    std::string block(const std::string& name) const {
        return "\n```\n" + name + "\n" + content(name);
    }

    Repository repository_;
    const std::string page_ = page();
};

TEST_F(SideFiles, AreWhatThePageShows) {
    const std::string label = "20261120-075745F";
    ASSERT_OK(save_hold(repository_, "main", {label, "until the audit is over", 1795161465}, ""));
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/hold/" + label)));

    const WalGap gap{"000000010000000000000004", "000000010000000000000007", 1795161465,
                     1795161470};
    ASSERT_OK(save_gap(repository_, "main", "15-1", gap, ""));
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/gap/15-1/" + gap.first)));

    ASSERT_OK(save_commit_notes(repository_, "main", "15-1",
                                {{"000000010000000000000004", 1795161465000001, Lsn(0x4000100)},
                                 {"000000010000000000000005", 1795161466000002, Lsn(0x5000200)}},
                                ""));
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/commit/15-1/000000010000000000000004")));

    const WalPiece piece{"000000010000000000000008",
                         0,
                         0x100000,
                         1795161465000001,
                         "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                         compress::CompressType::zst};
    EXPECT_THAT(page_, HasSubstr("\n```\n" + piece.object("main", "15-1") + "\n"));

    ASSERT_OK(save_restore_note(
        repository_, "main", "15-1",
        {1795161465, 1, "/srv/pg", "--type=time --target='2026-11-20 08:11:30+00'",
         "000000010000000000000008"},
        ""));
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/restore/15-1")));

    ASSERT_OK(save_verify_summary(repository_, "main",
                                  {1795161465, 1795161470, false, 0, 1, 3, 8, 48893759, ""}, ""));
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/verify/result")));
    UnfinishedVerify unfinished;
    unfinished.reason =
        "unable to list file info for path '/repo/backup/main/20261120-075745F': [13] Permission "
        "denied";
    for (const UnixTime finished : {1795161480, 1795247880}) {
        unfinished.finished = finished;
        ASSERT_OK(save_unfinished_verify(repository_, "main", unfinished, ""));
    }
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/verify/unfinished")));

    OutsideConfig config;
    config.server.config_file = "/etc/postgresql/c/postgresql.conf";
    config.files = {{config.server.config_file, "port = 5433\n"}};
    config.directories = {"/etc/postgresql/c/conf.d"};
    ASSERT_OK(save_outside_config(repository_, "main", label, config, ""));
    EXPECT_THAT(page_, HasSubstr(block("chronos/main/config/" + label)));
}

TEST_F(SideFiles, ThatSayWhoAndWhereHaveTheKeysOfThePage) {
    ASSERT_OK(
        storage::write_object(*repository_.storage, "backup/main/backup.info", "of no interest"));
    const auto lease = Lease::take(repository_, {"main", "backup", "1-a"});
    ASSERT_OK(lease);
    const std::size_t run = page_.find("{\"what\":");
    ASSERT_NE(run, std::string::npos);
    EXPECT_EQ(keys_of(page_.substr(run)), keys_of(content(only_object("run"))));

    ServerIdentity server;
    server.path = "/srv/pg";
    server.timeline = 1;
    ASSERT_OK(StanzaOwner(repository_, "main").claim(server));
    const std::size_t owner = page_.find("{\"host\":");
    ASSERT_NE(owner, std::string::npos);
    EXPECT_EQ(keys_of(page_.substr(owner)), keys_of(content(only_object("owners"))));

    const TurnRequest turn{"main", "nightly", 1795161600, 1, "data directory '/srv/pg'"};
    {
        const auto looked = Turn::look(repository_, turn);
        ASSERT_OK(looked);
        const auto taken = Turn::take(repository_, turn, *looked);
        ASSERT_OK(taken);
        ASSERT_OK((*taken)->succeeded("20261120-080005F"));
    }
    const std::size_t shown = page_.find("\n{\"schedule\"");
    ASSERT_NE(shown, std::string::npos);
    EXPECT_EQ(keys_of(page_.substr(shown + 1)), keys_of(content(only_object("turns"))));
}

/// Each way in which one of our own files comes into a repository.
std::vector<Result<>> write_all(const Repository& repository) {
    ServerIdentity server;
    server.path = "/srv/pg";
    server.timeline = 1;
    ServerIdentity promoted = server;
    promoted.timeline = 2;
    const StanzaOwner owner(repository, "main");
    OutsideConfig config;
    config.files = {{"/etc/postgresql/c/postgresql.conf", "port = 5433\n"}};
    const std::string label = "20261120-075745F";
    const std::string segment = "000000010000000000000004";
    return {owner.claim(server),
            owner.use(promoted, StanzaUse::archive),
            save_hold(repository, "main", {label, "", 1}, ""),
            save_gap(repository, "main", "15-1", {segment, segment, 1, 2}, ""),
            save_commit_notes(repository, "main", "15-1", {{segment, 1, Lsn(0x4000100)}}, ""),
            save_restore_note(repository, "main", "15-1", {1, 1, "/srv/pg", "", segment}, ""),
            save_verify_summary(repository, "main", {1, 2, false, 0, 1, 3, 8, 4, ""}, ""),
            save_unfinished_verify(repository, "main", {1, 2, "why", 0, ""}, ""),
            save_outside_config(repository, "main", label, config, ""),
            save_drill(repository, "main", drill_name(1, true, "1a2b3c4d"), "{}", ""),
            write_side_file(repository, "chronos/main/x", "x")};
}

// A directory whose file system is not mounted is empty, or has what others keep there.
TEST(SideFilesWithoutAStanza, AreNotWritten) {
    const test::TemporaryDirectory directory;
    Repository repository;
    repository.storage = storage::make_posix_storage(directory.path());
    ASSERT_OK(storage::write_object(*repository.storage, "archive/other/archive.info", ""));
    std::size_t number = 0;
    for (const Result<>& written : write_all(repository)) {
        SCOPED_TRACE(number++);
        EXPECT_ERROR(ErrorKind::path_missing, written);
        EXPECT_THAT(written.error().hint(), HasSubstr("mounted"));
    }
    EXPECT_FALSE(std::filesystem::exists(directory / "chronos"));
    ASSERT_OK(repository.storage->make_path("archive/main"));
    number = 0;
    for (const Result<>& written : write_all(repository)) {
        SCOPED_TRACE(number++);
        EXPECT_OK(written);
    }
}

}  // namespace
}  // namespace chronos::repo
