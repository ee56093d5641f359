#include "chronos/requests/log_settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "config_of.h"

namespace chronos::requests {
namespace {

present::LogSettings settings_of(std::vector<std::string> arguments) {
    return log_settings(test::config_of(std::move(arguments)));
}

TEST(LogSettings, AreWhatTheOptionsSay) {
    const present::LogSettings settings =
        settings_of({"expire", "--stanza=demo", "--log-path=/logs", "--log-format=json",
                     "--no-log-timestamp", "--log-level-console=detail", "--log-level-stderr=off",
                     "--log-level-file=trace", "--dry-run"});
    EXPECT_EQ(settings.console, LogLevel::detail);
    EXPECT_EQ(settings.standard_error, LogLevel::off);
    EXPECT_EQ(settings.file, LogLevel::trace);
    EXPECT_TRUE(settings.json);
    EXPECT_TRUE(settings.dry_run);
    EXPECT_FALSE(settings.timestamp);
    EXPECT_FALSE(settings.result_on_output);
    EXPECT_EQ(settings.path, "/logs/demo-expire.log");
    EXPECT_TRUE(settings.path_was_given);
    EXPECT_EQ(settings.origin.command, "expire");
    EXPECT_EQ(settings.origin.stanza, "demo");
    EXPECT_EQ(settings.origin.process_id, getpid());
}

TEST(LogSettings, WithoutOptionsAreThoseOfTheTable) {
    const present::LogSettings settings = settings_of({"expire", "--stanza=demo"});
    EXPECT_EQ(settings.console, LogLevel::warn);
    EXPECT_EQ(settings.standard_error, LogLevel::warn);
    EXPECT_EQ(settings.file, LogLevel::info);
    EXPECT_FALSE(settings.json);
    EXPECT_FALSE(settings.dry_run);
    EXPECT_TRUE(settings.timestamp);
    EXPECT_EQ(settings.path, "/var/log/pgbackrest/demo-expire.log");
    EXPECT_FALSE(settings.path_was_given) << "a missing directory is nobody's wish";
}

// A warning in the midst of a result would break who reads it.
TEST(LogSettings, KeepTheLogOutOfAResult) {
    EXPECT_TRUE(settings_of({"info"}).result_on_output);
    EXPECT_TRUE(settings_of({"verify", "--stanza=demo", "--output=json"}).result_on_output);
    EXPECT_FALSE(settings_of({"verify", "--stanza=demo", "--output=text"}).result_on_output);
}

TEST(LogSettings, OfACommandWithoutLogFileNameNone) {
    EXPECT_EQ(settings_of({"info", "--log-path=/logs"}).path, "");
}

}  // namespace
}  // namespace chronos::requests
