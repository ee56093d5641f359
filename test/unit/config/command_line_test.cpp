#include <gmock/gmock.h>

#include "resolving.h"

namespace chronos::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(CommandLine, OptionsStandBeforeOrAfterTheCommand) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"--stanza=demo", "--process-max=3", "restore"},
          {"restore", "--stanza=demo", "--process-max=3"},
          {"--stanza", "demo", "restore", "--process-max", "3"}}) {
        auto config = Resolving{.arguments = arguments, .file = kDemo}.run();
        ASSERT_OK(config);
        EXPECT_EQ(config->command(), "restore");
        EXPECT_EQ(config->stanza(), "demo");
        EXPECT_EQ(config->get_int("process-max"), 3);
        EXPECT_EQ(config->source("process-max"), Source::command_line);
    }
}

TEST(CommandLine, BooleansAreSetNegatedOrGivenAValue) {
    for (const auto& [argument, expected] : std::vector<std::pair<std::string, bool>>{
             {"--delta", true}, {"--delta=y", true}, {"--no-delta", false}, {"--delta=n", false}}) {
        auto config = Resolving{.arguments = {"--stanza=demo", "restore", argument},
                                .file = kDemo + "delta=" + (expected ? "n" : "y") + "\n"}
                          .run();
        ASSERT_OK(config);
        EXPECT_EQ(config->get_bool("delta"), expected) << argument;
    }
}

TEST(CommandLine, ResetKeepsWeakerSourcesOut) {
    auto config = Resolving{.arguments = {"--stanza=demo", "restore", "--reset-process-max"},
                            .file = kDemo + "process-max=7\n",
                            .environment = {"PGBACKREST_PROCESS_MAX=8"}}
                      .run();
    ASSERT_OK(config);
    EXPECT_FALSE(config->has("process-max"));
    EXPECT_NE(config->get_int("process-max"), 7);
    EXPECT_NE(config->get_int("process-max"), 8);
}

TEST(CommandLine, UniqueAbbreviationsAreUnderstood) {
    auto config =
        Resolving{.arguments = {"--stan=demo", "--repo1-retention-hi=5", "--no-resu", "back"},
                  .file = kDemo}
            .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->command(), "backup");
    EXPECT_EQ(config->get_int("repo1-retention-history"), 5);
    EXPECT_FALSE(config->get_bool("resume"));
    // Several options begin so, and a full name is never an abbreviation of a longer one.
    EXPECT_EQ(error_of({"--stanza=demo", "backup", "--archive=y"}),
              "31 invalid option '--archive=y'");
    EXPECT_EQ(error_of({"--stanza=demo", "backup", "--repo1-block"},
                       kDemo + "[global]\nrepo1-bundle=y\n"),
              "no error");
}

TEST(CommandLine, ListsAndHashesGrowByRepetition) {
    auto config =
        Resolving{.arguments = {"--stanza=demo", "restore", "--db-include=b", "--db-include=a",
                                "--recovery-option=x=1=2", "--recovery-option=y=3"},
                  .file = kDemo}
            .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->get_list("db-include"), ElementsAre("b", "a"));
    EXPECT_THAT(config->get_hash("recovery-option"),
                ElementsAre(std::pair("x", "1=2"), std::pair("y", "3")));
}

TEST(CommandLine, ErrorsAreThoseOfPgBackRest) {
    const std::string s = "--stanza=demo";
    EXPECT_EQ(error_of({"info", "--bogus=1"}), "31 invalid option '--bogus=1'");
    EXPECT_EQ(error_of({"-x", "info"}), "31 option '-x' must begin with --");
    EXPECT_EQ(error_of({s, "backup", "--repo-bundle"}),
              "31 option 'repo-bundle' requires an index");
    EXPECT_EQ(error_of({s, "info", "--repo257-path=/x"}),
              "31 option 'repo257-path' key exceeds maximum of 256");
    EXPECT_EQ(error_of({s, "info", "--repo0-path=/x"}),
              "31 option 'repo0-path' key exceeds maximum of 256");
    EXPECT_EQ(error_of({"--set=x", "check"}), "31 option 'set' not valid for command 'check'");
    EXPECT_EQ(error_of({"--pg1-port=5", "info"}),
              "31 option 'pg-port' not valid for command 'info'");
    EXPECT_EQ(error_of({s, s, "info"}), "31 option 'stanza' cannot be set multiple times");
    EXPECT_EQ(error_of({s, "restore", "--delta", "--no-delta"}),
              "31 option 'delta' cannot be set and negated");
    EXPECT_EQ(error_of({s, "restore", "--reset-delta", "--no-delta"}),
              "31 option 'delta' cannot be negated and reset");
    EXPECT_EQ(error_of({s, "restore", "--no-delta=y"}),
              "31 option 'no-delta' does not allow an argument");
    EXPECT_EQ(error_of({s, "restore", "--delta=x"}),
              "32 boolean option '--delta' argument must be 'y' or 'n'");
    EXPECT_EQ(error_of({"--no-stanza", "info"}), "31 option 'no-stanza' cannot be negated");
    EXPECT_EQ(error_of({"--reset-stanza", "info"}), "31 option 'reset-stanza' cannot be reset");
    EXPECT_EQ(error_of({"info", "--stanza"}), "31 option '--stanza' requires an argument");
    EXPECT_EQ(error_of({s}), "30 no command found");
    EXPECT_EQ(error_of({"bogus"}), "48 invalid command 'bogus'");
    EXPECT_EQ(error_of({"info", "x"}), "96 command does not allow parameters");
    EXPECT_EQ(error_of({"backup"}), "37 backup command requires option: stanza");
    EXPECT_EQ(error_of({"--stanza=nope", "restore"}),
              "37 restore command requires option: pg1-path");
}

TEST(CommandLine, UnknownNamesGetTheNearestOne) {
    EXPECT_THAT(hint_of({"--stanza=demo", "backup", "--proces-maxx=2"}),
                HasSubstr("Did you mean --process-max?"));
    EXPECT_THAT(hint_of({"--repo1-cypher-type=none", "info"}),
                HasSubstr("Did you mean --repo1-cipher-type?"));
    EXPECT_THAT(hint_of({"--no-delat", "info"}), HasSubstr("Did you mean --no-delta?"));
    EXPECT_THAT(hint_of({"inof"}), HasSubstr("Did you mean 'info'?"));
    EXPECT_EQ(hint_of({"--qqqqqqqqqqqq", "info"}), "");
}

TEST(CommandLine, SecretsAreRefusedAndNotRepeated) {
    for (const std::string& name :
         {std::string("repo1-cipher-pass"), std::string("repo2-s3-key"),
          std::string("repo1-s3-key-secret"), std::string("repo1-s3-token"),
          std::string("repo1-s3-sse-customer-key")}) {
        const auto config = Resolving{.arguments = {"info", "--" + name + "=hush"}}.run();
        ASSERT_FALSE(config);
        EXPECT_EQ(config.error().kind(), ErrorKind::option_invalid);
        EXPECT_EQ(config.error().message(),
                  "option '" + name + "' is not allowed on the command-line");
        EXPECT_EQ(config.error().text().find("hush"), std::string::npos);
    }
}

TEST(CommandLine, NoArgumentsMeanHelp) {
    std::vector<std::string> warnings;
    const auto config = resolve(Input{}, warnings);
    ASSERT_OK(config);
    EXPECT_EQ(config->command(), "help");
}

TEST(CommandLine, WhatFollowsTwoDashesIsAParameter) {
    auto config =
        Resolving{.arguments = {"--stanza=demo", "archive-get", "--", "--no", "-"}, .file = kDemo}
            .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->parameters(), ElementsAre("--no", "-"));
}

TEST(CommandLine, FormerNamesMeanTheFirstOfTheirGroup) {
    auto config = Resolving{.arguments = {"--stanza=demo", "restore", "--db-path=/old",
                                          "--repo-path=/r", "--db2-port=7"}}
                      .run();
    ASSERT_FALSE(config) << "pg2-path is missing";
    EXPECT_EQ(config.error().message(), "restore command requires option: pg2-path");
    config =
        Resolving{.arguments = {"--stanza=demo", "restore", "--db-path=/old", "--repo-path=/r"}}
            .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_string("pg1-path"), "/old");
    EXPECT_EQ(config->get_string("repo1-path"), "/r");
    EXPECT_EQ(error_of({"--stanza=demo", "restore", "--db-path=/old", "--pg1-path=/r"}),
              "31 option 'pg1-path' cannot be set multiple times");
}

TEST(CommandLine, CommandAfterHelpIsAParameterOfHelp) {
    auto config = Resolving{.arguments = {"help", "restore", "set", "--stanza=x"}}.run();
    ASSERT_OK(config);
    EXPECT_THAT(config->parameters(), ElementsAre("restore", "set"));
}

}  // namespace
}  // namespace chronos::config
