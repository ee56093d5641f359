#include "config/config_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolving.h"

namespace chronos::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string parse_error(std::string_view text) {
    const auto entries = parse_config_text(text);
    return entries ? "no error"
                   : std::to_string(static_cast<int>(entries.error().kind())) + " " +
                         entries.error().message();
}

TEST(ConfigText, BlanksAndCommentsDoNotCount) {
    const auto entries =
        parse_config_text(" [ a:b ]\r\n\t key =  x=y z \r\n#no=1\n\n  # no=2\nk=#3");
    ASSERT_OK(entries);
    ASSERT_EQ(entries->size(), 2u);
    EXPECT_EQ((*entries)[0].section, " a:b ");
    EXPECT_EQ((*entries)[0].key, "key");
    EXPECT_EQ((*entries)[0].value, "x=y z");
    EXPECT_EQ((*entries)[1].value, "#3");
}

TEST(ConfigText, ErrorsNameTheLineAndNotTheValue) {
    EXPECT_EQ(parse_error("x=y"), "29 key/value found outside of section at line 1: x");
    EXPECT_EQ(parse_error("[global]\nhush"), "29 missing '=' in key/value at line 2");
    EXPECT_EQ(parse_error("[global]\nrepo1-path = "),
              "32 section 'global', key 'repo1-path' must have a value");
    EXPECT_EQ(parse_error("#\n[global"), "29 ini section should end with ] at line 2: [global");
    EXPECT_EQ(parse_error("[global]\n\n[]"), "29 invalid empty section at line 3: []");
    EXPECT_EQ(parse_error("[global]\n=hush"), "29 key is zero-length at line 2");
}

TEST(ConfigFile, NarrowerSectionsWin) {
    const std::string file =
        "[global]\nprocess-max=1\nio-timeout=11\nbuffer-size=16KiB\nlog-path=/g\n"
        "[global:restore]\nprocess-max=2\nio-timeout=12\nbuffer-size=32KiB\n"
        "[demo]\npg1-path=/pg\nprocess-max=3\nio-timeout=13\n"
        "[demo:restore]\nprocess-max=4\n"
        "[other]\nprocess-max=5\n[global:backup]\nprocess-max=6\n";
    auto config = Resolving{.arguments = {"--stanza=demo", "restore"}, .file = file}.run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_int("process-max"), 4);
    EXPECT_EQ(config->get_time("io-timeout"), std::chrono::seconds(13));
    EXPECT_EQ(config->get_size("buffer-size"), 32768u);
    EXPECT_EQ(config->get_string("log-path"), "/g");
    EXPECT_EQ(config->source("log-path"), Source::file);
}

TEST(ConfigFile, CommandLineBeatsEnvironmentBeatsFile) {
    const std::string file = kDemo + "[global]\nprocess-max=1\nio-timeout=1\nrepo1-path=/f\n";
    auto config = Resolving{.arguments = {"--stanza=demo", "restore", "--process-max=3"},
                            .file = file,
                            .environment = {"PGBACKREST_PROCESS_MAX=2", "PGBACKREST_IO_TIMEOUT=2"}}
                      .run();
    ASSERT_OK(config);
    EXPECT_EQ(config->get_int("process-max"), 3);
    EXPECT_EQ(config->get_time("io-timeout"), std::chrono::seconds(2));
    EXPECT_EQ(config->get_string("repo1-path"), "/f");
}

TEST(ConfigFile, FirstSectionThatHasAListWinsWhole) {
    auto config = Resolving{.arguments = {"--stanza=demo", "restore"},
                            .file =
                                "[global]\ndb-include=z\n[demo]\npg1-path=/pg\ndb-include=a\n"
                                "db-include=b\n"}
                      .run();
    ASSERT_OK(config);
    EXPECT_THAT(config->get_list("db-include"), ElementsAre("a", "b"));
}

/// Without where it stands.
std::vector<std::string> first_lines(const std::vector<std::string>& warnings) {
    std::vector<std::string> lines;
    for (const std::string& warning : warnings)
        lines.push_back(warning.substr(0, warning.find('\n')));
    return lines;
}

TEST(ConfigFile, WhatHasNoPlaceIsIgnoredWithAWarning) {
    Resolving resolving{.arguments = {"--stanza=demo", "info"},
                        .file =
                            "[demo:info]\nresume=y\n"
                            "[demo]\npg1-path=/pg\nforce=y\n"
                            "[global]\npg1-path=/a\nbogus=/b\nno-resume=y\nreset-delta=y\n"
                            "stanza=x\nprocess-max=2\nstart-fast=y\n"};
    ASSERT_OK(resolving.run());
    EXPECT_THAT(
        first_lines(resolving.warnings),
        ElementsAre("configuration file contains option 'resume' invalid for section 'demo:info'",
                    "configuration file contains command-line only option 'force'",
                    "configuration file contains invalid option 'bogus'",
                    "configuration file contains negate option 'no-resume'",
                    "configuration file contains reset option 'reset-delta'",
                    "configuration file contains command-line only option 'stanza'"));
    resolving.arguments = {"--stanza=demo", "restore"};
    ASSERT_OK(resolving.run());
    EXPECT_THAT(first_lines(resolving.warnings),
                testing::Contains("configuration file contains stanza-only option "
                                  "'pg1-path' in global section 'global'"));
}

// Ignored like other unknown names, it would make us look for backups in a local directory.
TEST(ConfigFile, AnotherHostIsRefused) {
    EXPECT_EQ(error_of({"info"}, "[global]\nrepo1-host=backup.example\n"),
              "31 option 'repo1-host' is not supported in section 'global'");
    EXPECT_EQ(error_of({"--stanza=demo", "backup"}, kDemo + "pg2-host=db\n"),
              "31 option 'pg2-host' is not supported in section 'demo'");
    EXPECT_EQ(error_of({"info"}, "[other]\npg1-host=db\n[global]\nrepo1-host-user=x\n"),
              "no error");
}

TEST(ConfigFile, DuplicatesAreRefused) {
    EXPECT_EQ(error_of({"info"}, "[global]\nrepo1-path=/a\nrepo1-path=/b\n"),
              "31 option 'repo1-path' cannot be set multiple times");
    EXPECT_EQ(error_of({"info"}, "[global]\nrepo1-path=/a\nrepo-path=/b\n"),
              "31 configuration file contains duplicate options ('repo-path', 'repo1-path') in "
              "section '[global]'");
    EXPECT_EQ(error_of({"info"}, "[global]\nrepo-bundle=y\n"),
              "31 option 'repo-bundle' requires an index");
    EXPECT_EQ(error_of({"--stanza=demo", "backup"}, kDemo + "resume=z\n"),
              "32 boolean option 'resume' must be 'y' or 'n'");
}

TEST(ConfigFile, IncludedFilesContinueTheMainFileInOrderOfName) {
    const test::TemporaryDirectory directory;
    mkdir((directory / "conf.d").c_str(), 0755);
    std::ofstream(directory / "pgbackrest.conf") << "[global]\nprocess-max=2\n";
    std::ofstream(directory / "conf.d/b.conf") << "[demo]\npg1-path=/pg\n";
    std::ofstream(directory / "conf.d/a.conf") << "[global]\nio-timeout=7\n";
    std::ofstream(directory / "conf.d/c.txt") << "io-timeout=8\n";
    std::vector<std::string> warnings;
    auto config =
        resolve({.arguments = {"--config-path=" + directory.path(), "--stanza=demo", "restore"},
                 .environment = {},
                 .program = {},
                 .terminal = false,
                 .exec_id = {}},
                warnings);
    ASSERT_OK(config);
    EXPECT_EQ(config->get_int("process-max"), 2);
    EXPECT_EQ(config->get_time("io-timeout"), std::chrono::seconds(7));
    EXPECT_EQ(config->get_string("pg1-path"), "/pg");
    EXPECT_EQ(config->config_file(), directory / "pgbackrest.conf");
    EXPECT_THAT(warnings, IsEmpty());
}

TEST(ConfigFile, NoFileGoesOnWithTheSectionOfAnother) {
    FileContent content;
    content.files.push_back({.path = "main.conf", .text = "[global]\nprocess-max=2\n[demo]\n"});
    content.files.push_back({.path = "conf.d/a.conf", .text = "\npg1-path=/pg\n[demo]\n"});
    const auto lines = parse_config_files(content);
    ASSERT_FALSE(static_cast<bool>(lines));
    EXPECT_EQ(lines.error().kind(), ErrorKind::format);
    EXPECT_THAT(lines.error().message(),
                HasSubstr("key/value found outside of section at line 2: pg1-path"));
    EXPECT_THAT(lines.error().message(), HasSubstr("conf.d/a.conf"));
}

TEST(ConfigFile, OursGoesBeforePgBackRests) {
    const test::TemporaryDirectory directory;
    std::ofstream(directory / "pgbackrest.conf") << "[global]\nprocess-max=2\n";
    std::ofstream(directory / "chronos.conf") << "[global]\nprocess-max=3\n";
    const auto content = load_config_files(
        {.config = "", .no_config = false, .config_path = directory.path(), .include_path = ""});
    ASSERT_OK(content);
    EXPECT_EQ(content->main_file, directory / "chronos.conf");
}

struct Search {
    const char* what;
    FileSearch search;
    int error;  ///< 0: none
    std::vector<std::string> read;
};

TEST(ConfigFile, SearchFollowsWhatWasGiven) {
    const test::TemporaryDirectory directory;
    const std::string d = directory.path();
    for (const char* made : {"conf.d", "inc", "empty"}) mkdir((d + "/" + made).c_str(), 0755);
    for (const char* file : {"f.conf", "pgbackrest.conf", "conf.d/x.conf", "inc/y.conf"})
        std::ofstream(d + "/" + file) << "[global]\n";
    const std::vector<Search> searches{
        {"file", {d + "/f.conf", false, "", ""}, 0, {"f.conf"}},
        {"missing file", {d + "/none", false, "", ""}, 55, {}},
        {"path", {"", false, d, ""}, 0, {"pgbackrest.conf", "conf.d/x.conf"}},
        {"path without files", {"", false, d + "/empty", ""}, 0, {}},
        {"file and include", {d + "/f.conf", false, "", d + "/inc"}, 0, {"f.conf", "inc/y.conf"}},
        {"file and missing include", {d + "/f.conf", false, "", d + "/none"}, 73, {}},
        {"file and path", {d + "/f.conf", false, d, ""}, 0, {"f.conf", "conf.d/x.conf"}},
        {"none", {"", true, "", ""}, 0, {}},
        {"none but include", {"", true, "", d + "/inc"}, 0, {"inc/y.conf"}},
        {"none but path", {"", true, d, ""}, 0, {"conf.d/x.conf"}},
    };
    for (const Search& one : searches) {
        SCOPED_TRACE(one.what);
        const auto content = load_config_files(one.search);
        EXPECT_EQ(content ? 0 : static_cast<int>(content.error().kind()), one.error);
        if (!content) continue;
        std::vector<std::string> read;
        for (const auto& file : content->files) read.push_back(file.path.substr(d.size() + 1));
        EXPECT_EQ(read, one.read);
    }
}

TEST(ConfigFile, SecretsThatEverybodyCanReadAreWarnedOf) {
    const test::TemporaryDirectory directory;
    const std::string file = directory / "x.conf";
    std::ofstream(file) << "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=hush\n";
    for (const auto& [mode, command, expected] : std::vector<std::tuple<mode_t, std::string, bool>>{
             {0644, "info", true}, {0640, "info", false}, {0604, "info", true}}) {
        chmod(file.c_str(), mode);
        std::vector<std::string> warnings;
        ASSERT_OK(resolve({.arguments = {"--config=" + file, command},
                           .environment = {},
                           .program = {},
                           .terminal = false,
                           .exec_id = {}},
                          warnings));
        ASSERT_EQ(warnings.size(), expected ? 1u : 0u) << std::oct << mode;
        if (!expected) continue;
        EXPECT_THAT(warnings[0], HasSubstr(file));
        EXPECT_THAT(warnings[0], HasSubstr("chmod 640"));
        EXPECT_EQ(warnings[0].find("hush"), std::string::npos);
    }
}

TEST(ConfigFile, UnreadableFileIsNamedWithWhatIsNeeded) {
    const test::TemporaryDirectory directory;
    const std::string file = directory / "x.conf";
    std::ofstream(file) << "[global]\n";
    chmod(file.c_str(), 0);
    chmod(directory.path().c_str(), 0755);
    const bool was_root = geteuid() == 0;  // who reads everything
    if (was_root) {
        ASSERT_EQ(seteuid(65534), 0);
    }
    const auto content = load_config_files(
        {.config = file, .no_config = false, .config_path = "", .include_path = ""});
    const std::string user = std::to_string(geteuid());
    if (was_root) {
        ASSERT_EQ(seteuid(0), 0);
    }
    ASSERT_FALSE(content);
    EXPECT_EQ(content.error().kind(), ErrorKind::file_open);
    EXPECT_THAT(content.error().text(), HasSubstr(file));
    EXPECT_THAT(content.error().text(), HasSubstr(user));
    EXPECT_THAT(content.error().text(), HasSubstr("0640"));
}

TEST(ConfigFile, HelpAndVersionNeedNoConfiguration) {
    std::vector<std::string> warnings;
    for (const char* command : {"help", "version"})
        EXPECT_OK(resolve({.arguments = {"--config=/does/not/exist", command},
                           .environment = {"PGBACKREST_BOGUS=1"},
                           .program = {},
                           .terminal = false,
                           .exec_id = {}},
                          warnings));
    EXPECT_THAT(warnings, IsEmpty());
}

}  // namespace
}  // namespace chronos::config
