#include "chronos/present/log_output.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "temporary_directory.h"

namespace chronos::present {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

std::string content(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/// What a program logs in `body`, with both outputs captured.
struct Captured {
    std::string out;
    std::string err;
};

Captured capture(const LogSettings& settings, const std::function<void(LogOutput&)>& body) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    {
        LogOutput output(settings, [] {});
        body(output);
    }
    std::string out = testing::internal::GetCapturedStdout();
    return {std::move(out), testing::internal::GetCapturedStderr()};
}

/// As the options are by default; `path` of the file.
LogSettings settings(LogLevel console, LogLevel standard_error, std::string path = "") {
    LogSettings result;
    result.console = console;
    result.standard_error = standard_error;
    result.file = LogLevel::info;
    result.path = std::move(path);
    result.path_was_given = true;
    result.origin = {"expire", "demo", 1};
    return result;
}

TEST(LogLine, HasTheColumnsOfPgBackRest) {
    const auto line = [](LogLevel level, std::string_view text) {
        return LogLine{
            .time = "2026-11-20 08:20:59.123", .process = true, .level = level, .text = text}
            .format();
    };
    EXPECT_EQ(line(LogLevel::info, "x"), "2026-11-20 08:20:59.123 P00   INFO: x\n");
    EXPECT_EQ(line(LogLevel::error, "x"), "2026-11-20 08:20:59.123 P00  ERROR: x\n");
    EXPECT_EQ(line(LogLevel::warn, "x"), "2026-11-20 08:20:59.123 P00   WARN: x\n");
    EXPECT_EQ(line(LogLevel::detail, "x"), "2026-11-20 08:20:59.123 P00 DETAIL: x\n");
    EXPECT_EQ(line(LogLevel::debug, "x"), "2026-11-20 08:20:59.123 P00  DEBUG: x\n");
}

TEST(LogLine, FurtherLinesBeginInTheColumnOfTheText) {
    const LogLine line{.time = "", .process = true, .level = LogLevel::error, .text = "a\nb"};
    EXPECT_EQ(line.format(), "P00  ERROR: a\n            b\n");
    const LogLine bare{.time = "", .process = false, .level = LogLevel::warn, .text = "a\nb"};
    EXPECT_EQ(bare.format(), "WARN: a\n      b\n");
}

TEST(LogLine, ErrorsCarryTheirCode) {
    EXPECT_EQ(error_text(Error(ErrorKind::not_found, "x").with_hint("Y.")), "[055]: x\nHINT: Y.");
    EXPECT_EQ(error_text(Error(ErrorKind::service, "x")), "[101]: x");
}

TEST(JsonLogLine, HasTheMembersThatReadersSearchBy) {
    const std::string text = json_log_line(
        LogLevel::error, error_text(Error(ErrorKind::not_found, "no \"x\"").with_hint("Y.\nZ.")),
        {"restore", "main", 42});
    EXPECT_THAT(text, testing::EndsWith("}\n"));
    EXPECT_EQ(text.find('\n'), text.size() - 1) << "one line";
    const auto line = nlohmann::json::parse(text);
    EXPECT_THAT(line["timestamp"].get<std::string>(),
                MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}"
                             "[+-][0-9]{2}:[0-9]{2}"));
    EXPECT_EQ(line["level"], "error");
    EXPECT_EQ(line["process"], 42);
    EXPECT_EQ(line["command"], "restore");
    EXPECT_EQ(line["stanza"], "main");
    EXPECT_EQ(line["code"], 55);
    EXPECT_EQ(line["message"], "no \"x\"");
    EXPECT_EQ(line["hint"], "Y.\nZ.");
    EXPECT_FALSE(line.contains("detail"));
}

TEST(JsonLogLine, SurvivesWhateverAFileIsCalled) {
    const auto line = nlohmann::json::parse(
        json_log_line(LogLevel::warn, "file 'a\xff\x01'\nNOTE: more", {"backup", "", 1}));
    EXPECT_EQ(line["message"], "file 'a\xEF\xBF\xBD\x01'");
    EXPECT_EQ(line["detail"], "NOTE: more");
    EXPECT_FALSE(line.contains("stanza"));
    EXPECT_FALSE(line.contains("code"));
    EXPECT_EQ(nlohmann::json::parse(json_log_line(LogLevel::info, "[05]: x", {}))["message"],
              "[05]: x");
}

TEST(JsonLogLine, TellsTheZone) {
    setenv("TZ", "IST-05:30", 1);
    tzset();
    const std::string text = json_log_line(LogLevel::info, "x", {});
    unsetenv("TZ");
    tzset();
    EXPECT_THAT(text, HasSubstr("+05:30\""));
}

TEST(LogTime, IsLocalWithMilliseconds) {
    EXPECT_THAT(log_time(),
                MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}"));
}

TEST(LogOutput, LevelsDecideWhereALineGoes) {
    const auto all = [](LogOutput&) {
        log_warn("w");
        log_info("i");
        log_detail("d");
    };
    Captured captured = capture(settings(LogLevel::info, LogLevel::warn), all);
    EXPECT_EQ(captured.out, "P00   INFO: i\n");
    EXPECT_EQ(captured.err, "WARN: w\n") << "what needs somebody is not lost with the output";
    captured = capture(settings(LogLevel::detail, LogLevel::off), all);
    EXPECT_EQ(captured.out, "P00   WARN: w\nP00   INFO: i\nP00 DETAIL: d\n");
    EXPECT_EQ(captured.err, "");
    captured = capture(settings(LogLevel::off, LogLevel::info), all);
    EXPECT_EQ(captured.out, "");
    EXPECT_EQ(captured.err, "WARN: w\nINFO: i\n");
    captured = capture(settings(LogLevel::off, LogLevel::off), all);
    EXPECT_EQ(captured.out + captured.err, "");
}

TEST(LogOutput, ANameCannotCommandATerminal) {
    const Captured captured = capture(settings(LogLevel::warn, LogLevel::off), [](LogOutput&) {
        log_warn("file 'a\x1b[2J\r\x7f\xc3\xa4'\nHINT: \tRename it.");
    });
    EXPECT_EQ(captured.out, "P00   WARN: file 'a?[2J??\xc3\xa4'\n            HINT: \tRename it.\n");
}

TEST(LogOutput, FileAndStandardErrorAreJsonIfAskedForAndTheConsoleStaysForPeople) {
    const test::TemporaryDirectory directory;
    LogSettings json = settings(LogLevel::info, LogLevel::warn, directory / "log");
    json.json = true;
    const Captured captured = capture(json, [](LogOutput& output) {
        output.open_file();
        log_warn("w");
        log_info("i");
    });
    EXPECT_EQ(captured.out, "P00   INFO: i\n");
    EXPECT_EQ(nlohmann::json::parse(captured.err)["message"], "w");
    std::stringstream file(content(directory / "log"));
    std::vector<std::string> messages;
    for (std::string line; std::getline(file, line);)
        messages.push_back(nlohmann::json::parse(line)["message"]);
    EXPECT_THAT(messages, testing::ElementsAre("w", "i")) << "and nothing but objects";
}

TEST(LogOutput, DryRunsSaySo) {
    LogSettings dry = settings(LogLevel::info, LogLevel::warn);
    dry.dry_run = true;
    const Captured captured = capture(dry, [](LogOutput&) { log_info("i"); });
    EXPECT_EQ(captured.out, "P00   INFO: [DRY-RUN] i\n");
}

TEST(LogOutput, StaysOutOfAResultForAProgram) {
    LogSettings info = settings(LogLevel::warn, LogLevel::warn);
    info.result_on_output = true;
    const Captured captured = capture(info, [](LogOutput&) { log_warn("w"); });
    EXPECT_EQ(captured.out, "");
    EXPECT_EQ(captured.err, "WARN: w\n");
    info.standard_error = LogLevel::off;
    const Captured console = capture(info, [](LogOutput&) { log_warn("w"); });
    EXPECT_EQ(console.out, "");
    EXPECT_EQ(console.err, "P00   WARN: w\n");
}

TEST(LogOutput, WhatTheOptionsAreWarnedOfIsSaidWhateverTheyAre) {
    const test::TemporaryDirectory directory;
    const Captured captured =
        capture(settings(LogLevel::off, LogLevel::off, directory / "log"), [](LogOutput& output) {
            output.show_early({"w"});
            output.open_file();
        });
    EXPECT_EQ(captured.out, "");
    EXPECT_EQ(captured.err, "WARN: w\n");
    EXPECT_THAT(content(directory / "log"), HasSubstr("P00   WARN: w\n"));
}

TEST(LogOutput, FileIsAppendedToAndBegunByALine) {
    const test::TemporaryDirectory directory;
    const std::string path = directory / "log";
    for (int run = 0; run < 2; ++run)
        capture(settings(LogLevel::off, LogLevel::off, path), [](LogOutput& output) {
            output.open_file();
            log_info("i");
            log_detail("d");
        });
    EXPECT_THAT(
        content(path),
        MatchesRegex(
            "-------------------PROCESS START-------------------\n[-0-9:. ]* P00   INFO: i\n"
            "\n-------------------PROCESS START-------------------\n[-0-9:. ]* P00   INFO: i\n"));
    struct stat status = {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0007, 0u);
}

TEST(LogOutput, MissingDirectoryIsWorthAWarningOnlyIfGiven) {
    LogSettings missing = settings(LogLevel::off, LogLevel::warn, "/does/not/exist/log");
    const auto open = [](LogOutput& output) { output.open_file(); };
    const Captured given = capture(missing, open);
    EXPECT_THAT(given.err, HasSubstr("unable to open log file '/does/not/exist/log'"));
    EXPECT_THAT(given.err, HasSubstr("\n      NOTE: process will continue without log file."));
    missing.path_was_given = false;
    EXPECT_EQ(capture(missing, open).err, "");
}

}  // namespace
}  // namespace chronos::present
