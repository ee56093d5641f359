#include <gmock/gmock.h>
#include <sys/stat.h>

#include "config/option_table.h"
#include "resolving.h"

namespace chronos::config {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

TEST(Environment, OursGoesBeforePgBackRests) {
    auto config = Resolving{.arguments = {"info"},
                            .environment = {"PGBACKREST_REPO1_PATH=/theirs",
                                            "CHRONOS_REPO1_PATH=/ours", "PGBACKREST_STANZA=demo"}}
                      .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_string("repo1-path"), "/ours");
    EXPECT_EQ(config->stanza(), "demo");
    EXPECT_EQ(config->source("stanza"), Source::environment);
}

TEST(Environment, ListsAreSeparatedByColons) {
    auto config = Resolving{.arguments = {"--stanza=demo", "restore"},
                            .file = kDemo + "db-include=z\n",
                            .environment = {"PGBACKREST_DB_INCLUDE=a:b"}}
                      .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->get_list("db-include"), ElementsAre("a", "b"));
}

TEST(Environment, WhatIsNoOptionIsIgnoredWithAWarning) {
    Resolving resolving{
        .arguments = {"info"},
        .environment = {"PGBACKREST_FOO=x", "PGBACKREST_NO_RESUME=y", "PGBACKREST_RESET_DELTA=y",
                        "PGBACKREST_START_FAST=y", "PATH=/bin", "PGBACKREST=x"}};
    ASSERT_OK(resolving.run());
    EXPECT_THAT(resolving.warnings,
                ElementsAre("environment contains invalid option 'foo'",
                            "environment contains invalid negate option 'no-resume'",
                            "environment contains invalid reset option 'reset-delta'"));
}

TEST(Environment, ErrorsAreThoseOfPgBackRest) {
    EXPECT_EQ(error_of({"info"}, "", {"PGBACKREST_LOCK_PATH="}),
              "32 environment variable 'lock-path' must have a value");
    EXPECT_EQ(error_of({"--stanza=demo", "expire"}, "", {"PGBACKREST_DRY_RUN=z"}),
              "32 environment boolean option 'dry-run' must be 'y' or 'n'");
}

TEST(Environment, SecretsMayStandThere) {
    auto config = Resolving{.arguments = {"info"},
                            .environment = {"PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc",
                                            "PGBACKREST_REPO1_CIPHER_PASS=a b"}}
                      .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_string("repo1-cipher-pass"), "a b");
    EXPECT_THAT(config->describe(), HasSubstr("--repo1-cipher-pass=<redacted>"));
    EXPECT_THAT(config->command_line_options("archive-get"),
                testing::Not(testing::Contains(HasSubstr("a b"))));
}

TEST(Value, ErrorsAreThoseOfPgBackRest) {
    const std::string s = "--stanza=demo";
    EXPECT_EQ(error_of({"--output=xx", "info"}), "32 'xx' is not allowed for 'output' option");
    EXPECT_EQ(error_of({"--stanza=", "info"}), "32 '' must be >= 1 character for 'stanza' option");
    EXPECT_EQ(error_of({s, "restore", "--process-max=0"}),
              "32 '0' is out of range for 'process-max' option");
    EXPECT_EQ(error_of({s, "restore", "--process-max=a"}),
              "32 'a' is not valid for 'process-max' option");
    EXPECT_EQ(error_of({s, "restore", "--process-max=9 "}),
              "32 '9 ' is not valid for 'process-max' option");
    EXPECT_EQ(error_of({"info", "--repo1-path=rel"}),
              "32 'rel' must begin with / for 'repo1-path' option");
    EXPECT_EQ(error_of({"info", "--repo1-path=/a//b"}),
              "32 '/a//b' cannot contain // for 'repo1-path' option");
    EXPECT_EQ(error_of({"info", "--buffer-size=3MB"}),
              "32 '3MB' is not allowed for 'buffer-size' option");
    EXPECT_EQ(error_of({s, "restore", "--recovery-option=x"}),
              "31 key/value 'x' not valid for 'recovery-option' option");
    EXPECT_EQ(error_of({"info", "--io-timeout=1.5"}),
              "32 '1.5' is not valid for 'io-timeout' option");
    EXPECT_EQ(error_of({"info", "--io-timeout=99999999999999999999"}),
              "32 '99999999999999999999' is not valid for 'io-timeout' option");
    EXPECT_EQ(error_of({"info", "--stanza=../x"}), "32 '../x' is not valid for 'stanza' option");
    EXPECT_THAT(hint_of({s, "restore", "--process-max=0"}), HasSubstr("1 to 999"));
    EXPECT_THAT(hint_of({"--output=xx", "info"}), HasSubstr("text, json"));
}

// As pgBackRest 2.60 takes and refuses them; days and multipliers it refuses with error 29.
TEST(Value, PairsOfNumbersAreWhatTheOptionTakes) {
    const auto error = [](const std::string& pair) {
        return error_of({"--stanza=demo", "backup", "--repo1-block-" + pair});
    };
    for (const char* pair : {"size-map=16KiB=8KiB", "size-map=16384=4096", "age-map=0=1",
                             "age-map=28=0", "age-map=3=4294967295", "checksum-size-map=8KiB=16"})
        EXPECT_EQ(error(pair), "no error") << pair;
    EXPECT_EQ(error("size-map=16384"),
              "31 key/value '16384' not valid for 'repo1-block-size-map' option");
    const std::vector<std::tuple<std::string, std::string, std::string>> refused{
        {"size-map", "x=8192", "'x' is not valid for"},
        {"size-map", "0=8KiB", "'0' is not valid for"},
        {"size-map", "16KiB=0", "'0' is out of range for"},
        {"size-map", "16KiB=17MiB", "'17MiB' is out of range for"},
        {"size-map", "16KiB=x", "'x' is not valid for"},
        {"size-map", "16KiB=", "'' is not valid for"},
        {"age-map", "1d=0", "'1d' is not valid for"},
        {"age-map", "-1=1", "'-1' is not valid for"},
        {"age-map", "7=1KiB", "'1KiB' is not valid for"},
        {"age-map", "7=-1", "'-1' is out of range for"},
        {"checksum-size-map", "0=7", "'0' is not valid for"},
        {"checksum-size-map", "8KiB=5", "'5' is out of range for"},
        {"checksum-size-map", "8KiB=17", "'17' is out of range for"},
        {"checksum-size-map", "8KiB=8KiB", "'8KiB' is not valid for"}};
    for (const auto& [name, pair, problem] : refused)
        EXPECT_EQ(error(name + "=" + pair), "32 " + problem + " 'repo1-block-" + name + "' option")
            << pair;
    EXPECT_THAT(hint_of({"--stanza=demo", "backup", "--repo1-block-age-map=1d=0"}),
                HasSubstr("'7=2'"));
    EXPECT_THAT(hint_of({"--stanza=demo", "backup", "--repo1-block-checksum-size-map=1=17"}),
                HasSubstr("6 to 16"));
}

TEST(Value, MapsOfNumbersStandInTheFile) {
    auto config = Resolving{.arguments = {"--stanza=demo", "backup"},
                            .file = kDemo +
                                    "[global]\nrepo1-block-size-map=16KiB=8KiB\n"
                                    "repo1-block-size-map=1GiB=64KiB\n"
                                    "repo1-block-age-map=90=0\n"}
                      .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->get_number_map("repo1-block-size-map"),
                ElementsAre(Pair(16384, 8192), Pair(1 << 30, 65536)));
    EXPECT_THAT(config->get_number_map("repo1-block-age-map"), ElementsAre(Pair(90, 0)));
    EXPECT_THAT(config->get_number_map("repo1-block-checksum-size-map"), IsEmpty());
}

TEST(Value, SizesTimesAndPathsAreNormalised) {
    auto config = Resolving{.arguments = {"--stanza=demo", "backup", "--archive-timeout=250ms",
                                          "--io-timeout=2m", "--db-timeout=7", "--repo1-path=/a/",
                                          "--manifest-save-threshold=3GiB", "--buffer-size=64kb"},
                            .file = kDemo}
                      .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_time("archive-timeout"), milliseconds(250));
    EXPECT_EQ(config->get_time("io-timeout"), milliseconds(120000));
    EXPECT_EQ(config->get_time("db-timeout"), milliseconds(7000));
    EXPECT_EQ(config->get_string("repo1-path"), "/a");
    EXPECT_EQ(config->get_size("manifest-save-threshold"), std::uint64_t{3} << 30);
    EXPECT_EQ(config->get_size("buffer-size"), 65536u);
}

TEST(Value, CompressLevelMustSuitTheType) {
    for (const auto& [type, level, good] :
         std::vector<std::tuple<std::string, std::string, bool>>{{"gz", "-1", true},
                                                                 {"gz", "10", false},
                                                                 {"bz2", "0", false},
                                                                 {"bz2", "9", true},
                                                                 {"lz4", "-5", true},
                                                                 {"lz4", "13", false},
                                                                 {"zst", "22", true},
                                                                 {"zst", "-8", false}}) {
        const std::string error = error_of(
            {"--stanza=demo", "backup", "--compress-type=" + type, "--compress-level=" + level});
        EXPECT_EQ(error, good ? "no error"
                              : "32 '" + level +
                                    "' is out of range for 'compress-level' option when "
                                    "'compress-type' option = '" +
                                    type + "'");
    }
}

TEST(Dependency, TypedOptionsMustMakeSense) {
    const std::string s = "--stanza=demo";
    EXPECT_EQ(
        error_of({s, "restore", "--target=x"}),
        "31 option 'target' not valid without option 'type' in ('lsn', 'name', 'time', 'xid')");
    EXPECT_EQ(error_of({s, "restore", "--type=time"}),
              "37 restore command requires option: target");
    EXPECT_EQ(error_of({s, "backup", "--no-online", "--archive-check"}),
              "31 option 'archive-check' not valid without option 'online'");
    EXPECT_EQ(error_of({s, "backup", "--repo1-bundle", "--repo1-hardlink"}),
              "31 option 'repo1-hardlink' not valid without option 'no-repo1-bundle'");
    EXPECT_EQ(error_of({s, "backup", "--repo1-s3-bucket=x"}),
              "31 option 'repo1-s3-bucket' not valid without option 'repo1-type' = 's3'");
    EXPECT_EQ(error_of({"info", "--repo1-target-time=x"}),
              "31 option 'repo1-target-time' not valid without option 'repo'");
    EXPECT_EQ(error_of({"info", "--repo1-type=s3"}, ""),
              "37 info command requires option: repo1-s3-bucket");
    EXPECT_EQ(error_of({"info", "--repo1-cipher-type=aes-256-cbc"}, ""),
              "37 info command requires option: repo1-cipher-pass");
}

TEST(Dependency, WhatAFileSaysForOtherCasesIsLeftAside) {
    auto config = Resolving{.arguments = {"info"}, .file = "[global]\nrepo1-s3-bucket=x\n"}.run();
    ASSERT_OK(config);
    EXPECT_FALSE(config->has("repo1-s3-bucket"));
}

TEST(Dependency, ArchiveChecksAreOffWithoutAServer) {
    auto config =
        Resolving{.arguments = {"--stanza=demo", "backup", "--no-online"}, .file = kDemo}.run();
    ASSERT_OK(config);
    EXPECT_FALSE(config->get_bool("archive-check"));
    EXPECT_FALSE(config->get_bool("archive-mode-check"));
    config = Resolving{.arguments = {"--stanza=demo", "backup"}, .file = kDemo}.run();
    ASSERT_OK(config);
    EXPECT_TRUE(config->get_bool("archive-check"));
    EXPECT_TRUE(config->get_bool("archive-mode-check"));
}

TEST(Repositories, AreDirectoriesUnlessAnObjectStoreIsNamed) {
    auto config = Resolving{.arguments = {"info"},
                            .file =
                                "[global]\nrepo1-path=/a\nrepo2-path=/b\nrepo2-type=cifs\n"
                                "repo3-path=/c\nrepo3-type=s3\nrepo3-s3-bucket=b\n"
                                "repo3-s3-region=r\n"}
                      .run();
    ASSERT_OK(config);
    EXPECT_TRUE(config->is_directory(1));
    EXPECT_TRUE(config->is_directory(2));
    EXPECT_FALSE(config->is_directory(3));
}

TEST(Repositories, AreThoseNamedAnywhere) {
    auto config =
        Resolving{.arguments = {"info", "--repo4-path=/d"}, .file = "[global]\nrepo2-path=/b\n"}
            .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->repo_keys(), ElementsAre(2u, 4u));
    EXPECT_THAT(Resolving{.arguments = {"info"}}.run()->repo_keys(), ElementsAre(1u));
    EXPECT_THAT(Resolving{.arguments = {"info"}}.run()->pg_keys(), IsEmpty());
    EXPECT_EQ(error_of({"info", "--repo=7"}), "32 key '7' is not valid for 'repo' option");
    EXPECT_EQ(error_of({"info", "--repo1-path=/x", "--repo2-path=/x/"}),
              "32 local repo1 and repo2 paths are both '/x' but must be different");
}

TEST(Secrets, MayComeFromAFile) {
    const test::TemporaryDirectory directory;
    const std::string file = directory / "pass";
    std::ofstream(file) << "correct horse\n";
    chmod(file.c_str(), 0600);
    Resolving resolving{
        .arguments = {"info"},
        .file = "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass-file=" + file + "\n"};
    auto config = resolving.run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_string("repo1-cipher-pass"), "correct horse");
    EXPECT_THAT(resolving.warnings, IsEmpty());
    EXPECT_EQ(config->describe().find("horse"), std::string::npos);

    chmod(file.c_str(), 0644);
    ASSERT_OK(resolving.run());
    ASSERT_EQ(resolving.warnings.size(), 1u);
    EXPECT_THAT(resolving.warnings[0], HasSubstr("chmod 640 " + file));

    resolving.file += "repo1-cipher-pass=other\n";
    EXPECT_EQ(resolving.run()->get_string("repo1-cipher-pass"), "other");

    std::ofstream(file, std::ios::trunc) << "\n";
    EXPECT_THAT(
        error_of({"info"},
                 "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass-file=" + file + "\n"),
        HasSubstr("is empty"));
    EXPECT_THAT(
        error_of({"info"},
                 "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass-file=/no/such\n"),
        testing::StartsWith(
            "55 read option 'repo1-cipher-pass-file': unable to open missing file"));
}

TEST(S3, RegionComesFromTheEnvironmentAndEndpointFromTheRegion) {
    auto config = Resolving{.arguments = {"info"},
                            .file = "[global]\nrepo1-type=s3\nrepo1-s3-bucket=b\n",
                            .environment = {"AWS_DEFAULT_REGION=eu-west-9"}}
                      .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_string("repo1-s3-region"), "eu-west-9");
    EXPECT_EQ(config->get_string("repo1-s3-endpoint"), "s3.eu-west-9.amazonaws.com");
    EXPECT_EQ(error_of({"info"}, "[global]\nrepo1-type=s3\nrepo1-s3-bucket=b\n"),
              "37 info command requires option: repo1-s3-region");
}

TEST(Default, DependsOnTheCommand) {
    auto restore = Resolving{.arguments = {"--stanza=demo", "restore"}, .file = kDemo}.run();
    auto backup = Resolving{.arguments = {"--stanza=demo", "backup"}, .file = kDemo}.run();
    auto get =
        Resolving{.arguments = {"--stanza=demo", "archive-get", "a", "b"}, .file = kDemo}.run();
    ASSERT_OK(restore);
    ASSERT_OK(backup);
    ASSERT_OK(get);
    EXPECT_EQ(restore->get_string("type"), "default");
    EXPECT_EQ(backup->get_string("type"), "incr");
    EXPECT_EQ(restore->get_string("set"), "latest");
    EXPECT_TRUE(restore->get_bool("allow-root"));
    EXPECT_FALSE(backup->get_bool("allow-root"));
    EXPECT_EQ(get->get_int("process-max"), 1);
    EXPECT_GE(backup->get_int("process-max"), 1);
    EXPECT_LE(backup->get_int("process-max"), 4);
    EXPECT_EQ(backup->get_string("compress-type"), "zst");
    EXPECT_EQ(backup->get_int("compress-level"), 3);
    EXPECT_EQ(backup->get_string("cmd"), "/usr/bin/chronos");
}

TEST(Default, FollowsOtherOptions) {
    auto config =
        Resolving{.arguments = {"--stanza=demo", "backup", "--no-compress"}, .file = kDemo}.run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_string("compress-type"), "none");
    config =
        Resolving{.arguments = {"--stanza=demo", "backup", "--compress-type=bz2"}, .file = kDemo}
            .run();
    EXPECT_EQ(config->get_int("compress-level"), 9);
    config = Resolving{.arguments = {"info"}, .terminal = true}.run();
    EXPECT_EQ(config->get_string("log-level-console"), "info");
    config = Resolving{.arguments = {"info"}}.run();
    EXPECT_EQ(config->get_string("log-level-console"), "warn");
}

TEST(Default, QueryLimitStaysBelowTheLimitOfTheProcess) {
    auto config =
        Resolving{.arguments = {"--stanza=demo", "check", "--db-timeout=1h"}, .file = kDemo}.run();
    ASSERT_OK(config);
    EXPECT_GT(config->get_time("protocol-timeout"), config->get_time("db-timeout"));
    config =
        Resolving{.arguments = {"--stanza=demo", "check", "--protocol-timeout=5"}, .file = kDemo}
            .run();
    ASSERT_OK(config);
    EXPECT_LT(config->get_time("db-timeout"), config->get_time("protocol-timeout"));
    EXPECT_EQ(error_of({"--stanza=demo", "check", "--protocol-timeout=5", "--db-timeout=50"}),
              "32 '5' is not valid for 'protocol-timeout' option");
    EXPECT_EQ(error_of({"--stanza=demo", "check", "--db-timeout=x"}),
              "32 'x' is not valid for 'db-timeout' option");
}

TEST(Description, IsSortedAndQuotedLikePgBackRests) {
    auto config = Resolving{.arguments = {"--stanza=demo", "backup", "--no-resume", "--start-fast",
                                          "--exclude=a b", "--exclude=c", "--exec-id=1-a"},
                            .file = kDemo}
                      .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->describe(), "--config=" + config->config_file() +
                                      " --exclude=\"a b\" --exclude=c --exec-id=1-a --pg1-path=/pg "
                                      "--no-resume --stanza=demo --start-fast");
}

TEST(CommandLineOptions, AreThoseTypedThatTheOtherCommandKnows) {
    auto config =
        Resolving{.arguments = {"--stanza=demo", "restore", "--delta", "--process-max=2",
                                "--log-level-console=info", "--pg1-path=/new", "--no-neutral-umask",
                                "--archive-mode=off", "--io-timeout=5", "--output=text"},
                  .file = kDemo + "[global]\nrepo1-path=/r\n"}
            .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->command_line_options("archive-get"),
                ElementsAre("--config=" + config->config_file(), "--io-timeout=5",
                            "--no-neutral-umask", "--pg1-path=/new", "--stanza=demo"));
}

// What is no name does not compile: test/lint/option_names.t.
TEST(Config, NamesThatTheCompilerLookedUpAreThoseOfTheTable) {
    EXPECT_EQ(row_of("repo12-path").name, "repo-path");
    EXPECT_EQ(written("repo12-path"), "repo12-path");
    EXPECT_EQ(written({"pg-path", 3}), "pg3-path");
    EXPECT_EQ(written("pg-version-force"), "pg-version-force");
    EXPECT_EQ(written("repo256-s3-key"), "repo256-s3-key");
    EXPECT_EQ(written("abandon"), option_table().front().name);
    EXPECT_EQ(written("with-dependencies"), option_table().back().name);
    for (const Option& option : option_table())
        EXPECT_EQ(lookup::find_row(option.name).row, name_of(option, 0).row()) << option.name;
}

TEST(Engine, KnowsEveryOption) {
    for (const Option& option : option_table())
        EXPECT_TRUE(knows(CommandId::engine, option)) << option.name;
    auto config = Resolving{.arguments = {"--stanza=demo", "engine", "--pg1-path=/pg", "--target=x",
                                          "--type=full", "--compress-type=lz4"}}
                      .run();
    ASSERT_OK(config);
}

TEST(Engine, WorksByTheSectionsAndDefaultsOfItsRole) {
    const std::string file =
        kDemo + "[global:backup]\nio-timeout=7\n[global:archive-push]\nio-timeout=8\n";
    auto backup = Resolving{.arguments = {"engine", "backup", "--stanza=demo"}, .file = file}.run();
    ASSERT_OK(backup);
    EXPECT_EQ(backup->command(), "engine");
    EXPECT_EQ(backup->rules(), "backup");
    EXPECT_EQ(backup->get_time("io-timeout"), std::chrono::seconds(7));
    EXPECT_EQ(backup->get_string("type"), "incr");
    auto archive =
        Resolving{.arguments = {"engine", "archive", "--stanza=demo"}, .file = file}.run();
    ASSERT_OK(archive);
    EXPECT_EQ(archive->get_time("io-timeout"), std::chrono::seconds(8));
    EXPECT_EQ(error_of({"engine", "backup"}), "37 engine command requires option: stanza");
}

}  // namespace
}  // namespace chronos::config
