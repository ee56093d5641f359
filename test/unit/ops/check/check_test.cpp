#include "chronos/ops/check/check.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "chronos/repo/info.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/repo/stanza.h"
#include "control_vector.h"
#include "fake_connection.h"
#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::check {
namespace {

using testing::HasSubstr;

class Check : public testing::Test {
protected:
    Check() {
        std::filesystem::create_directory(data_ / "global");
        std::ofstream(data_ / "global/pg_control") << pgdata::control_15();
        request_.stanza = "main";
        request_.archive_timeout = std::chrono::milliseconds(30);
        repo::Repository& repository = request_.repositories.emplace_back();
        repository.storage = std::make_shared<test::MemoryStorage>();
        facts_.data_directory = data_.path();
        facts_.system_id = "7710195861716093438";
        server_.on("pg_create_restore_point", {{"0/3000100"}});
        server_.on("pg_switch_wal", {{"0/3000118"}});
        server_.on("pg_walfile_name", {{"000000010000000000000004"}});
        // The question names the functions above; nothing is missing.
        server_.on("has_function_privilege", db::Rows{});
    }
    void make_stanza(std::uint64_t system_id_offset = 0) {
        auto cluster = repo::ClusterIdentity::of(*pgdata::read_control_file(data_.path()));
        cluster.system_id += system_id_offset;
        ASSERT_OK(repo::create_stanza(request_.repositories[0], "main", cluster));
    }
    void archive_segment() {
        ASSERT_OK(storage::write_object(
            *request_.repositories[0].storage,
            "archive/main/15-1/0000000100000000/000000010000000000000003-" + std::string(40, 'a'),
            "wal"));
    }
    std::vector<CheckFinding> run() {
        server_.on(test::FakeFacts::kQuestion, facts_.rows());
        auto findings = run_check(request_, server_, {}, cancel_);
        EXPECT_OK(findings);
        return *findings;
    }
    static const CheckFinding* find(const std::vector<CheckFinding>& findings,
                                    std::string_view test) {
        for (const CheckFinding& finding : findings)
            if (finding.test == test) return &finding;
        return nullptr;
    }
    /// The only failure is of this test and kind.
    void expect_failure(std::string_view test, ErrorKind kind) {
        const auto findings = run();
        for (const CheckFinding& finding : findings) {
            if (finding.test != test) {
                EXPECT_TRUE(finding.ok()) << finding.test << ": " << finding.message;
                continue;
            }
            EXPECT_FALSE(finding.ok());
            EXPECT_EQ(finding.kind, kind) << finding.message;
        }
        EXPECT_NE(find(findings, test), nullptr);
        EXPECT_ERROR(kind, check_outcome(findings));
    }

    test::TemporaryDirectory data_;
    test::FakeConnection server_;
    test::FakeFacts facts_;
    CheckRequest request_;
    Cancellation cancel_;
};

// Between a promotion and its first checkpoint pg_control names the timeline before.
TEST_F(Check, TimelineIsTheOneTheServerWrites) {
    make_stanza();
    server_.on("pg_walfile_name", {{"000000020000000000000004"}});
    ASSERT_OK(storage::write_object(
        *request_.repositories[0].storage,
        "archive/main/15-1/0000000200000000/000000020000000000000003-" + std::string(40, 'a'),
        "wal"));
    const auto findings = run();
    const CheckFinding* wal = find(findings, "repo1 wal");
    ASSERT_NE(wal, nullptr);
    EXPECT_EQ(wal->status, CheckStatus::ok) << wal->message;
}

TEST_F(Check, OfASoundSetupFollowsASegmentIntoTheRepository) {
    make_stanza();
    archive_segment();
    const auto findings = run();
    EXPECT_OK(check_outcome(findings));
    const CheckFinding* wal = find(findings, "repo1 wal");
    ASSERT_NE(wal, nullptr);
    EXPECT_THAT(wal->message, HasSubstr("WAL segment 000000010000000000000003 successfully"));
    const CheckFinding* backups = find(findings, "repo1 backups");
    ASSERT_NE(backups, nullptr);
    EXPECT_EQ(backups->status, CheckStatus::note);
    EXPECT_THAT(backups->message, HasSubstr("no full backup yet"));
}

// Nothing else that check looks at would show that a backup cannot be restored.
TEST_F(Check, TellsWhatTheLastVerifyFound) {
    make_stanza();
    archive_segment();
    const repo::Repository& repository = request_.repositories[0];
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    info->backups.emplace_back().label = "20261120-075745F";
    ASSERT_OK(repo::save_backup_info(repository, "main", *info));
    const auto verified = [&] {
        const auto findings = run();
        const CheckFinding* found = find(findings, "repo1 verify");
        return found == nullptr ? CheckFinding{"none", CheckStatus::ok, "", "", {}} : *found;
    };
    EXPECT_THAT(verified().message, HasSubstr("never verified"));
    EXPECT_EQ(verified().status, CheckStatus::note);
    repo::VerifySummary summary;
    summary.finished = 1795164517;
    summary.backups = 1;
    ASSERT_OK(repo::save_verify_summary(repository, "main", summary, ""));
    EXPECT_EQ(verified().status, CheckStatus::ok);
    summary.failures = 2;
    summary.first_failure = "15-1: 000000010000000000000003: is missing";
    ASSERT_OK(repo::save_verify_summary(repository, "main", summary, ""));
    EXPECT_EQ(repo::load_verify_summary(repository, "main", "").value(), summary);
    EXPECT_EQ(verified().status, CheckStatus::failure);
    EXPECT_THAT(verified().message, HasSubstr("000000010000000000000003: is missing"));
}

TEST_F(Check, SaysWhichSegmentDidNotArrive) {
    make_stanza();
    expect_failure("repo1 wal", ErrorKind::archive_timeout);
}

TEST_F(Check, FindsAMissingStanza) {
    expect_failure("repo1 info", ErrorKind::not_found);
}

TEST_F(Check, FindsTheStanzaOfAnotherCluster) {
    make_stanza(/*system_id_offset=*/1);
    expect_failure("repo1 info", ErrorKind::file_invalid);
}

TEST_F(Check, FindsThatTheConfiguredDirectoryIsNotTheServers) {
    make_stanza();
    facts_.data_directory = "/";
    request_.pgdata = data_.path();
    expect_failure("cluster", ErrorKind::db_mismatch);
}

TEST_F(Check, SwitchesNothingWhereArchivingCannotWork) {
    make_stanza();
    facts_.archive_mode = "off";
    expect_failure("archiving", ErrorKind::archive_disabled);
    EXPECT_FALSE(server_.was_asked("pg_switch_wal()::text"));
}

TEST_F(Check, SwitchesNothingOnAStandby) {
    make_stanza();
    facts_.in_recovery = "true";
    const auto findings = run();
    EXPECT_OK(check_outcome(findings));
    EXPECT_FALSE(server_.was_asked("pg_switch_wal()::text"));
    ASSERT_NE(find(findings, "wal"), nullptr);
}

TEST_F(Check, NotesWhatMaySurprise) {
    make_stanza();
    archive_segment();
    facts_.archive_timeout = "0";
    facts_.shared_preload_libraries = "";
    facts_.max_wal_senders = "0";
    const auto findings = run();
    EXPECT_OK(check_outcome(findings));
    for (const char* test : {"archive_timeout", "shared_preload_libraries", "max_wal_senders"}) {
        const CheckFinding* finding = find(findings, test);
        ASSERT_NE(finding, nullptr) << test;
        EXPECT_EQ(finding->status, CheckStatus::note);
        EXPECT_NE(finding->hint, "");
    }
}

TEST_F(Check, MinimalWalIsAFailure) {
    make_stanza();
    archive_segment();
    facts_.wal_level = "minimal";
    expect_failure("wal_level", ErrorKind::archive_disabled);
}

TEST_F(Check, ARequestToStopEndsTheWait) {
    make_stanza();
    request_.archive_timeout = std::chrono::hours(1);
    server_.on(test::FakeFacts::kQuestion, facts_.rows());
    server_.on("pg_switch_wal", [this](const auto&) -> Result<db::Rows> {
        cancel_.request();
        return db::Rows{{"0/3000118"}};
    });
    EXPECT_ERROR(ErrorKind::cancelled, run_check(request_, server_, {}, cancel_));
}

}  // namespace
}  // namespace chronos::ops::check
