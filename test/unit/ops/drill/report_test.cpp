#include <gmock/gmock.h>
#include <unistd.h>

#include "chronos/ops/drill/drill.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::drill {
namespace {

using testing::HasSubstr;
using testing::Not;

DrillReport sample() {
    DrillReport report;
    report.stanza = "main";
    report.backup.label = "20261120-075745F";
    report.backup.type = "default";
    report.backup.file_count = 3;
    report.server_version = "PostgreSQL 15.7";
    report.passed = true;
    report.checks = {{"assert", "SELECT 'a|b'\nFROM t", "t", "t", true, 0.1}};
    return report;
}

TEST(DrillReport, PassesAreShortAndFailuresNamed) {
    DrillReport report = sample();
    EXPECT_THAT(format_text(report), HasSubstr("result:           passed"));
    EXPECT_THAT(format_text(report), HasSubstr("ok      assert: SELECT 'a|b' FROM t -> t\n"));
    EXPECT_THAT(format_text(report), Not(HasSubstr("failure")));
    report.passed = false;
    report.failed_phase = "recover";
    report.failure = "the restored server ended with exit status 1";
    EXPECT_THAT(format_text(report), HasSubstr("FAILED while recovering"));
    EXPECT_THAT(format_text(report), HasSubstr("the restored server ended with exit status 1"));
}

// Who reads it has to know that most of the backup was not looked at.
TEST(DrillReport, OfABackupThatWasNotRestoredSaysWhatWasRead) {
    DrillReport report = sample();
    report.backup.size_bytes = std::uint64_t{100} << 20;
    EXPECT_THAT(format_text(report), HasSubstr("time to restore:"));
    report.backup.fetched_bytes = std::uint64_t{7} << 20;
    EXPECT_THAT(format_text(report), Not(HasSubstr("time to restore:")));
    EXPECT_THAT(format_text(report), HasSubstr("nothing was restored\n"));
    EXPECT_THAT(format_text(report), HasSubstr("was read:         7MB of 100MB; of the rest this "
                                               "proves nothing\n"));
}

TEST(DrillReport, MarkdownKeepsItsTableWhateverTheQuestionIs) {
    const std::string text = format_markdown(sample());
    EXPECT_THAT(text, HasSubstr("## Restore drill of main"));
    EXPECT_THAT(text, HasSubstr("| assert | SELECT 'a\\|b' FROM t | t | t | 0.1s | ok |\n"));
}

TEST(RunDrill, WhatKeepsARestoreFromWorkingIsItsVerdict) {
    const test::TemporaryDirectory parent;
    DrillRequest request;
    request.stanza = "main";
    request.scratch_parent = parent.path();
    request.keep = true;  // of which there is nothing
    const Cancellation cancel;
    const auto report = run_drill(
        request,
        [](const Scratch&, RestoredBackup& backup) -> Result<std::shared_ptr<void>> {
            backup.label = "20261120-075745F";
            return Error(ErrorKind::checksum, "file x is damaged").with_hint("Take another.");
        },
        {}, cancel);
    if (geteuid() == 0) {
        EXPECT_ERROR(ErrorKind::access, report);
        return;
    }
    ASSERT_OK(report);
    EXPECT_FALSE(report->passed);
    EXPECT_EQ(report->failed_phase, "restore");
    EXPECT_EQ(report->failure, "file x is damaged");
    EXPECT_EQ(report->failure_hint, "Take another.");
    EXPECT_EQ(report->failure_code, static_cast<int>(ErrorKind::checksum));
    EXPECT_EQ(report->backup.label, "20261120-075745F");
    EXPECT_TRUE(std::filesystem::is_empty(parent.path()));
}

}  // namespace
}  // namespace chronos::ops::drill
