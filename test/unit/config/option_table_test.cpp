#include "config/option_table.h"

#include <gmock/gmock.h>

#include <set>

#include "chronos/base/text.h"
#include "config/option_rules.h"
#include "config/value.h"

namespace chronos::config {
namespace {

TEST(OptionTable, EveryDefaultIsAValueOfTheOption) {
    for (const Option& option : option_table())
        for (const CommandInfo& command : command_table()) {
            const std::string_view text = default_for(option, command.id);
            if (text.empty() || !option.commands.contains(command.id)) continue;
            if (text == options::kCores) continue;
            const auto checked = check_value(option, std::string(option.name), command.id, text);
            EXPECT_TRUE(checked) << option.name << " for " << command.name;
        }
}

TEST(OptionTable, DependenciesNameOptionsAndTheirValues) {
    for (const Option& option : option_table()) {
        if (option.depends_on.empty()) continue;
        const auto other = find_option(option.depends_on);
        ASSERT_TRUE(other) << option.name;
        if (option.depends_values.empty()) continue;
        for (const auto value : split(option.depends_values, ' ')) {
            bool good = false;
            for (const CommandInfo& command : command_table())
                if (option.commands.contains(command.id) &&
                    check_value(*other->option, "x", command.id, value))
                    good = true;
            EXPECT_TRUE(good) << option.name << " needs " << value;
        }
    }
}

TEST(OptionTable, NamesAndAliasesAreUnambiguous) {
    for (const unsigned index : {0u, 3u}) {
        std::set<std::string> seen;
        for (const std::string& name : names_with_index(index)) {
            EXPECT_TRUE(seen.insert(name).second) << name;
            const auto named = find_option(name);
            ASSERT_TRUE(named) << name;
            EXPECT_FALSE(named->index_missing) << name;
            EXPECT_TRUE(index == 0 || named->index == index) << name;
        }
    }
}

// Of the rows that there are the compiler has found that they pass; here, that a wrong one does
// not.
TEST(OptionRules, RefuseWhatADefaultCannotBe) {
    using rules::has_sound_defaults;
    EXPECT_FALSE(has_sound_defaults({.name = "x", .type = Type::size, .default_text = "1MB2"}));
    EXPECT_FALSE(has_sound_defaults({.name = "x", .type = Type::time, .default_text = "1y"}));
    EXPECT_FALSE(has_sound_defaults({.name = "x", .type = Type::integer, .default_text = "1m"}));
    EXPECT_FALSE(has_sound_defaults({.name = "x", .type = Type::boolean, .default_text = "yes"}));
    EXPECT_FALSE(has_sound_defaults({.name = "x", .type = Type::path, .default_text = "tmp"}));
    EXPECT_FALSE(has_sound_defaults({.name = "x", .type = Type::list, .default_text = "a"}));
    EXPECT_FALSE(has_sound_defaults({.name = "x", .default_text = "c", .allowed = "a b"}));
    EXPECT_FALSE(has_sound_defaults(
        {.name = "x", .type = Type::integer, .default_text = "3", .minimum = 4, .maximum = 5}));
    EXPECT_TRUE(has_sound_defaults(
        {.name = "x", .type = Type::size, .default_text = "4KiB", .minimum = 1, .maximum = 4096}));
}

TEST(OptionRules, RefuseRangesNamesAndCommandsThatDoNotFit) {
    EXPECT_FALSE(rules::has_sound_range({.name = "x", .minimum = 1, .maximum = 2}));
    EXPECT_FALSE(
        rules::has_sound_range({.name = "x", .type = Type::time, .minimum = 3, .maximum = 2}));
    EXPECT_FALSE(rules::has_sound_pairs(
        {.name = "x", .type = Type::hash, .keys = Type::size, .details = "A hint."}));
    EXPECT_FALSE(rules::has_sound_pairs(
        {.name = "x", .type = Type::hash, .keys = Type::size, .values = Type::size}));
    EXPECT_FALSE(rules::has_sound_name({.name = "path", .group = Group::repo}));
    EXPECT_FALSE(rules::has_sound_name({.name = "repopath", .group = Group::repo}));
    EXPECT_FALSE(rules::has_sound_commands({.name = "x"}));
    EXPECT_FALSE(rules::has_sound_commands(
        {.name = "x", .commands = CommandId::backup, .required = CommandId::restore}));
    EXPECT_FALSE(rules::is_explained({.name = "x", .summary = "A sentence."}));
    EXPECT_FALSE(rules::has_sound_dependency(option_table(), {.name = "x", .depends_on = "y"}));
}

TEST(CommandTable, StandsInTheOrderOfItsIds) {
    for (std::size_t i = 0; i < command_table().size(); ++i) {
        EXPECT_EQ(static_cast<std::size_t>(command_table()[i].id), i);
        EXPECT_EQ(find_command(command_table()[i].name), &command_table()[i]);
    }
}

// The options that pgBackRest 2.59 has: docs/format/configuration.md, General options and the two
// tables behind it.
TEST(OptionTable, HoldsTheOptionsOfPgBackRest) {
    for (const char* name : {"allow-root",
                             "annotation",
                             "archive-async",
                             "archive-check",
                             "archive-copy",
                             "archive-expire-before",
                             "archive-get-queue-max",
                             "archive-header-check",
                             "archive-missing-retry",
                             "archive-mode",
                             "archive-mode-check",
                             "archive-push-batch-size",
                             "archive-push-queue-max",
                             "archive-queue-max",
                             "archive-timeout",
                             "backup-standby",
                             "buffer-size",
                             "checksum-page",
                             "checksum-page-error",
                             "cmd",
                             "compress",
                             "compress-level",
                             "compress-level-network",
                             "compress-type",
                             "config",
                             "config-include-path",
                             "config-path",
                             "db-exclude",
                             "db-include",
                             "db-path",
                             "db-timeout",
                             "db3-port",
                             "db2-socket-path",
                             "delta",
                             "dry-run",
                             "exclude",
                             "exec-id",
                             "expire-auto",
                             "filter",
                             "force",
                             "hardlink",
                             "ignore-missing",
                             "io-timeout",
                             "job-retry",
                             "job-retry-interval",
                             "link-all",
                             "link-map",
                             "lock-path",
                             "log-level-console",
                             "log-level-file",
                             "log-level-stderr",
                             "log-path",
                             "log-subprocess",
                             "log-timestamp",
                             "manifest-save-threshold",
                             "neutral-umask",
                             "oldest",
                             "online",
                             "output",
                             "page-header-check",
                             "pg-version-force",
                             "pg1-database",
                             "pg256-path",
                             "pg1-port",
                             "pg1-socket-path",
                             "pg1-user",
                             "priority",
                             "process-max",
                             "protocol-timeout",
                             "raw",
                             "recovery-option",
                             "recurse",
                             "repo",
                             "repo-path",
                             "repo-s3-verify-ssl",
                             "repo1-block",
                             "repo1-block-age-map",
                             "repo1-block-checksum-size-map",
                             "repo1-block-size-map",
                             "repo1-block-size-super",
                             "repo1-block-size-super-full",
                             "repo1-bundle",
                             "repo1-bundle-limit",
                             "repo1-bundle-size",
                             "repo1-cipher-pass",
                             "repo1-cipher-type",
                             "repo1-hardlink",
                             "repo1-path",
                             "repo1-retention-archive",
                             "repo1-retention-archive-type",
                             "repo1-retention-diff",
                             "repo1-retention-full",
                             "repo1-retention-full-type",
                             "repo1-retention-history",
                             "repo1-s3-bucket",
                             "repo1-s3-endpoint",
                             "repo1-s3-host",
                             "repo1-s3-key",
                             "repo1-s3-key-secret",
                             "repo1-s3-key-type",
                             "repo1-s3-kms-key-id",
                             "repo1-s3-process-cmd",
                             "repo1-s3-region",
                             "repo1-s3-requester-pays",
                             "repo1-s3-role",
                             "repo1-s3-service",
                             "repo1-s3-sse-customer-key",
                             "repo1-s3-sts-host",
                             "repo1-s3-token",
                             "repo1-s3-uri-style",
                             "repo1-s3-verify-tls",
                             "repo1-storage-ca-file",
                             "repo1-storage-ca-path",
                             "repo1-storage-host",
                             "repo1-storage-port",
                             "repo1-storage-tag",
                             "repo1-storage-upload-chunk-size",
                             "repo1-storage-verify-tls",
                             "repo1-symlink",
                             "repo1-target-time",
                             "repo1-type",
                             "resume",
                             "retention-archive-type",
                             "retention-full",
                             "sck-keep-alive",
                             "set",
                             "sort",
                             "spool-path",
                             "stanza",
                             "start-fast",
                             "stop-auto",
                             "tablespace-map",
                             "tablespace-map-all",
                             "target",
                             "target-action",
                             "target-exclusive",
                             "target-timeline",
                             "tcp-keep-alive-count",
                             "tcp-keep-alive-idle",
                             "tcp-keep-alive-interval",
                             "tls-cipher-12",
                             "tls-cipher-13",
                             "type",
                             "verbose"}) {
        const auto named = find_option(name);
        EXPECT_TRUE(named && !named->index_missing && !named->index_invalid) << name;
    }
}

}  // namespace
}  // namespace chronos::config
