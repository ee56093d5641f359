#include <gmock/gmock.h>

#include "resolving.h"

namespace chronos::config {
namespace {

/// "value from source" of one option in the list, "not listed" if it is not there.
std::string listed(const Config& config, std::string_view name) {
    static constexpr const char* kSources[] = {"default", "file", "environment", "command line"};
    for (const ListedOption& option : config.list())
        if (option.name == name)
            return option.value + " from " + kSources[static_cast<int>(option.source)];
    return "not listed";
}

TEST(ConfigList, TellsValueAndSourceOfWhatEveryCommandReads) {
    Resolving resolving{.arguments = {"config-list", "--stanza=demo", "--repo1-retention-full=3"},
                        .file =
                            "[global]\nrepo1-path=/repo\nrepo2-path=/two\nstart-fast=y\n"
                            "exclude=a\nexclude=b\n[demo]\npg1-path=/pg\n",
                        .environment = {"PGBACKREST_PROCESS_MAX=7"}};
    const auto config = resolving.run();
    ASSERT_OK(config);
    EXPECT_EQ(listed(*config, "repo1-path"), "/repo from file");
    EXPECT_EQ(listed(*config, "repo2-path"), "/two from file");
    EXPECT_EQ(listed(*config, "pg1-path"), "/pg from file");
    EXPECT_EQ(listed(*config, "start-fast"), "y from file");
    EXPECT_EQ(listed(*config, "exclude"), "a,b from file");
    EXPECT_EQ(listed(*config, "process-max"), "7 from environment");
    EXPECT_EQ(listed(*config, "repo1-retention-full"), "3 from command line");
    EXPECT_EQ(listed(*config, "repo3-path"), "not listed");
    EXPECT_EQ(listed(*config, "set"), "not listed") << "belongs to one command line";
    EXPECT_THAT(resolving.warnings, testing::IsEmpty());
}

TEST(ConfigList, ShowsNoSecret) {
    Resolving resolving{.arguments = {"config-list", "--stanza=demo"},
                        .file =
                            "[global]\nrepo1-cipher-type=aes-256-cbc\n"
                            "repo1-cipher-pass=opensesame\n[demo]\npg1-path=/pg\n"};
    const auto config = resolving.run();
    ASSERT_OK(config);
    EXPECT_EQ(listed(*config, "repo1-cipher-pass"), "<redacted> from file");
    for (const ListedOption& option : config->list())
        EXPECT_EQ(option.value.find("opensesame"), std::string::npos) << option.name;
}

TEST(ConfigList, CommandsAreNotShownForTheTokensInThem) {
    Resolving resolving{
        .arguments = {"config-list", "--stanza=demo"},
        .file =
            "[global]\nalert-command=curl -H 'Token: opensesame' https://pager\n"
            "repo1-type=s3\nrepo1-s3-bucket=b\nrepo1-s3-endpoint=e\nrepo1-s3-region=r\n"
            "repo1-s3-key-type=process\nrepo1-s3-process-cmd=vault\n"
            "repo1-s3-process-cmd=--token=opensesame\n[demo]\npg1-path=/pg\n"};
    const auto config = resolving.run();
    ASSERT_OK(config);
    EXPECT_EQ(listed(*config, "alert-command"), "<redacted> from file");
    EXPECT_EQ(listed(*config, "repo1-s3-process-cmd"), "<redacted>,<redacted> from file");
    EXPECT_THAT(config->describe(), testing::Not(testing::HasSubstr("opensesame")));
}

TEST(ConfigList, OfPrimaryConninfoTheNameIsShown) {
    Resolving resolving{
        .arguments = {"--stanza=demo", "--type=standby",
                      "--recovery-option=primary_conninfo=host=a password=opensesame",
                      "--recovery-option=Primary_Conninfo=password=opensesame",
                      "--recovery-option=recovery_end_command=true", "restore"},
        .file = "[demo]\npg1-path=/pg\n"};
    const auto config = resolving.run();
    ASSERT_OK(config);
    EXPECT_THAT(config->describe(),
                testing::HasSubstr("--recovery-option=primary_conninfo=<redacted>"));
    EXPECT_THAT(config->describe(), testing::HasSubstr("recovery_end_command=true"));
    EXPECT_THAT(config->describe(), testing::Not(testing::HasSubstr("opensesame")));
    EXPECT_EQ(config->get_hash("recovery-option").at("primary_conninfo"),
              "host=a password=opensesame");
}

}  // namespace
}  // namespace chronos::config
