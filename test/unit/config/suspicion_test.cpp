#include "config/suspicion.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "chronos/base/text.h"
#include "chronos/config/command.h"
#include "config/option_table.h"
#include "resolving.h"

namespace chronos::config {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// What a command says of a file, each warning without the name of the file.
std::vector<std::string> warnings_of(const std::string& file, std::vector<std::string> arguments = {
                                                                  "--stanza=main", "expire"}) {
    Resolving resolving{.arguments = std::move(arguments), .file = file};
    (void)resolving.run();
    // The file of a test is everybody's, which is another story.
    std::erase_if(resolving.warnings, [](const std::string& warning) {
        return warning.find("accessible to every user") != std::string::npos;
    });
    for (std::string& warning : resolving.warnings)
        if (const std::size_t at = warning.find("', line "); at != std::string::npos)
            warning = warning.substr(at + 3);
    return resolving.warnings;
}

const std::string kMain = "[main]\npg1-path=/pg\n";

TEST(Suspicion, AValueThatAnotherCommandWillRefuseIsShownAndNoOther) {
    EXPECT_THAT(
        warnings_of("[global]\nrepo1-path=/r\nstart-fast=yes\nrepo1-retention-full=2\n" + kMain),
        ElementsAre(AllOf(HasSubstr("line 3: start-fast=yes"),
                          HasSubstr("the command backup will refuse it"))));
    EXPECT_THAT(warnings_of("[global]\nrepo1-path=/r\ncompress-type=gz\nstart-fast=y\n" + kMain),
                IsEmpty());
    EXPECT_THAT(warnings_of("[global:restore]\nprocess-max=0\n[global]\nrepo1-path=/r\n" + kMain,
                            {"--stanza=main", "info"}),
                ElementsAre(HasSubstr("the command restore will refuse it")));
}

TEST(Suspicion, AValueInASectionOfAnotherCommandIsJudgedByThatCommand) {
    EXPECT_THAT(warnings_of("[global]\nrepo1-path=/r\n[global:backup]\nprocess-max=0\n" + kMain,
                            {"--stanza=main", "check"}),
                ElementsAre(AllOf(HasSubstr("line 4: process-max=0"),
                                  HasSubstr("the command backup will refuse it"))));
}

/// Commands that read sections of a stanza as they stand, and answer for them.
std::vector<std::string> answering_commands() {
    std::vector<std::string> names;
    for (const CommandInfo& command : command_table())
        if (!command.internal && command.id != CommandId::help &&
            command.id != CommandId::version && command.id != CommandId::archive_get &&
            command.id != CommandId::archive_push)
            names.emplace_back(command.name);
    return names;
}

struct Answer {
    bool refused = false;  ///< for the second line
    bool told = false;     ///< that another command will
};

/// Of a command to the configuration in a file.
Answer answer_to(const std::string& command, const std::string& path) {
    std::vector<std::string> warnings;
    const auto config = resolve({.arguments = {"--config=" + path, "--stanza=main", command},
                                 .environment = {},
                                 .program = "x",
                                 .exec_id = {}},
                                warnings);
    const std::string error = config ? "" : config.error().message();
    Answer answer;
    answer.refused = error.find("cannot be set multiple times") != std::string::npos ||
                     error.find("duplicate options") != std::string::npos;
    for (const std::string& warning : warnings)
        if (warning.find("It was set before") != std::string::npos &&
            warning.find("will refuse it") != std::string::npos)
            answer.told = true;
    return answer;
}

/// Each option that can stand in a file, and each of its names with one that means the same.
std::vector<std::array<std::string, 2>> pairs_of_keys() {
    std::vector<std::array<std::string, 2>> pairs;
    for (const Option& option : option_table()) {
        if (option.section == Section::command_line) continue;
        const std::string name = indexed_name(option, option.group == Group::none ? 0 : 1);
        pairs.push_back({name, name});
        if (option.aliases.empty()) continue;
        std::string alias(split(option.aliases, ' ').front());
        std::replace(alias.begin(), alias.end(), '?', '1');
        pairs.push_back({name, alias});
    }
    return pairs;
}

// Of a line that stops one command, every other one says so, check above all.
TEST(Suspicion, AKeyThatStandsTwiceIsRefusedOrToldOfByEveryCommand) {
    const std::vector<std::string> commands = answering_commands();
    const test::TemporaryDirectory directory;
    const std::string path = directory / "test.conf";
    for (const std::string section : {"global", "global:backup", "main", "main:backup"})
        for (const auto& [one, other] : pairs_of_keys()) {
            SCOPED_TRACE("[" + section + "] " + one + " " + other);
            std::ofstream(path) << "[" << section << "]\n" << one << "=1\n" << other << "=1\n";
            std::size_t refused = 0, quiet = 0, told = 0;
            for (const std::string& command : commands) {
                const Answer answer = answer_to(command, path);
                refused += answer.refused ? 1 : 0;
                told += !answer.refused && answer.told ? 1 : 0;
                quiet += !answer.refused && !answer.told ? 1 : 0;
            }
            EXPECT_EQ(refused == 0 ? told : quiet, 0u) << refused << " commands refuse it";
        }
}

TEST(Suspicion, ALineThatDoesNotMeanWhatItLooksLikeIsShown) {
    struct Case {
        std::string line;
        std::string shown;
        std::string why;
    };
    for (const Case& one : std::vector<Case>{
             {"repo1-path=/x # nas", "repo1-path=/x # nas", "comment"},
             {"repo1-path=/x\t#nas", "repo1-path=/x?#nas", "comment"},
             {"repo1-path=/x ; nas", "repo1-path=/x ; nas", "comment"},
             {"repo1-path=/x repo1-type=posix", "repo1-type=posix", "another option"},
             {"repo1-path=/x/$HOST", "/x/$HOST", "Variables"},
             {"repo1-path=/x/${HOST}", "/x/${HOST}", "Variables"},
             {"repo1-path=/x;", "/x;", "';'"},
             {"repo1-path=/x\\", "/x\\", "backslash"},
             {"log-path=\"b\"", "\"b\"", "quotes"},
             {"log-path='b'", "'b'", "quotes"},
             {"log-path=\xE2\x80\x9C"
              "b\xE2\x80\x9D",
              "b", "quotes"},
             {"log-path==b", "==b", "second '='"},
             {"log-path=\xC2\xA0"
              "b",
              "b", "non-breaking space"},
             {"log-path=b\xE2\x80\x8B", "b", "zero-width space"},
             {"log-path=b\x01", "b?", "control character"},
         }) {
        SCOPED_TRACE(one.line);
        const auto warnings = warnings_of(kMain + "[global]\n" + one.line + "\n");
        ASSERT_EQ(warnings.size(), 1u);
        EXPECT_THAT(warnings[0],
                    AllOf(HasSubstr("line 4: "), HasSubstr(one.shown), HasSubstr(one.why)));
    }
}

TEST(Suspicion, SecretsAreNotShown) {
    for (const std::string line :
         {"repo1-cipher-pass=hush # y", "repo1-cipher-pass=\"hush\"", "repo1-cipher-pas=hush",
          "Repo1-Cipher-Pass=hush", "repo1-cipher-pass\xC2\xA0=hush", "repo1-cipher-pass==hush"}) {
        SCOPED_TRACE(line);
        const auto warnings =
            warnings_of(kMain + "[global]\nrepo1-cipher-type=aes-256-cbc\n" + line + "\n");
        ASSERT_EQ(warnings.size(), 1u);
        EXPECT_THAT(warnings[0],
                    AllOf(HasSubstr("line 5"), HasSubstr("<redacted>"), Not(HasSubstr("hush"))));
    }
}

TEST(Suspicion, ASectionThatNothingReadsIsNamed) {
    struct Case {
        std::string head;
        std::string why;
    };
    for (const Case& one : std::vector<Case>{
             {"Global", "'[global]'"},
             {"GLOBAL", "'[global]'"},
             {" global ", "'[global]'"},
             {"global\t", "'[global]'"},
             {"\"global\"", "'[global]'"},
             {"[global]", "'[global]'"},
             {"glbal", "'[global]'"},
             {"gloabl", "'[global]'"},
             {"globals", "'[global]'"},
             {"Global:backup", "'[global]'"},
             {"global :backup", "'[global]'"},
             {"global:bakup", "'backup'"},
             {"global:Backup", "'backup'"},
             {"global: backup", "'backup'"},
             {"global:backup:async", "no such command"},
             {"global:", "no such command"},
             {"main:bakup", "'backup'"},
             {"main ", "no stanza"},
             {"a/b", "no stanza"},
             {"mian", "'[main]'"},
             {"Main", "'[main]'"},
             {"main1\xC2\xA0", "no stanza"},
             {"default", "stands in '[global]'"},
             {"pgbackrest", "stands in '[global]'"},
             {"archive-push", "stands in '[global]'"},
         }) {
        SCOPED_TRACE("[" + one.head + "]");
        const auto warnings = warnings_of(kMain + "[" + one.head + "]\nrepo1-path=/x\n");
        ASSERT_EQ(warnings.size(), 1u);
        EXPECT_THAT(warnings[0], AllOf(HasSubstr("line 3: ["), HasSubstr(one.why)));
    }
    EXPECT_THAT(warnings_of("[mian]\npg1-path=/pg\n"), ElementsAre(HasSubstr("'[main]'")))
        << "which would be another stanza if there were one called main";
}

TEST(Suspicion, KeysOfSectionsThatThisCommandDoesNotReadAreLookedAtToo) {
    EXPECT_THAT(warnings_of(kMain + "[global:restore]\nproces-max=2\npg1-path=/x\n"
                                    "process-max=2\nprocess-max=3\n"),
                ElementsAre(HasSubstr("line 4"), HasSubstr("line 5"), HasSubstr("line 7")));
    EXPECT_THAT(warnings_of("[one]\npg1-path=/x\nrepo1-pth=/x\n", {"info"}),
                ElementsAre(AllOf(HasSubstr("line 3"), HasSubstr("Did you mean repo1-path?"))));
}

TEST(Suspicion, AnOptionThatDoesNotCountIsNamed) {
    EXPECT_THAT(warnings_of(kMain + "[global]\nrepo1-cipher-pass=hush\n"),
                ElementsAre(AllOf(HasSubstr("'repo1-cipher-pass' not valid without option "
                                            "'repo1-cipher-type'"),
                                  Not(HasSubstr("hush")))))
        << "nothing would be encrypted";
    EXPECT_THAT(warnings_of(kMain + "[global]\nrepo2-path=/b\nrepo2-s3-bucket=b\n"),
                ElementsAre(HasSubstr("'repo2-s3-bucket' not valid without option 'repo2-type'")));
    EXPECT_THAT(warnings_of(kMain + "repo1-type=posix\n[global]\nrepo1-s3-bucket=b\n"), IsEmpty())
        << "the stanza has said that its repository is another one";
}

// A restore would go to the end of the WAL, although somebody has named a moment.
TEST(Suspicion, AVariableForATargetDoesNotGoUnread) {
    const auto run = [](std::vector<std::string> environment, std::vector<std::string> arguments) {
        Resolving resolving{.arguments = std::move(arguments),
                            .file = kMain,
                            .environment = std::move(environment)};
        const auto config = resolving.run();
        return config ? "" : config.error().text();
    };
    const std::vector<std::string> restore{"--stanza=main", "restore"};
    EXPECT_THAT(run({"PGBACKREST_TARGET=2026-11-20 08:11:30+00"}, restore),
                HasSubstr("'target' not valid without option 'type'"));
    EXPECT_THAT(run({"CHRONOS_TARGET_ACTION=promote"}, restore), HasSubstr("'target-action'"));
    EXPECT_EQ(run({"CHRONOS_TARGET=2026-11-20 08:11:30+00", "CHRONOS_TYPE=time"}, restore), "");
    EXPECT_EQ(run({"CHRONOS_TARGET=x"}, {"--stanza=main", "--type=immediate", "restore"}), "")
        << "who calls has said where it ends";
}

TEST(Suspicion, WhatIsMeantAsItStandsGivesNoWarning) {
    for (const std::string file : {
             "\r\n# repo1-path=/x # nas\r\n[global]\r\n\trepo1-path = /x y \r\n"
             "repo1-retention-full=2\r\n[global:archive-push]\r\ncompress-level=3\r\n"
             "[main]\r\npg1-path=/pg\r\npg1-port=5433\r\n[main:backup]\r\nprocess-max=3\r\n"
             "[other]\r\npg1-path=/pg2\r\n",
             "[db1]\npg1-path=/a\n[db2]\npg1-path=/b\n[global]\nrepo1-cipher-type=aes-256-cbc\n"
             "repo1-cipher-pass=zWaf6XtpjIVZC5444yXB+cgFDFl7MxGlgkZSaoPvTGirhPygu4jOKOXf9LO4vjfO="
             "\n",
             "[globus]\npg1-path=/a\n[main]\npg1-path=/b\n[global:server]\nlog-level-file=info\n"
             "[global:repo-put]\nlog-level-file=info\n",
             "[main]\npg1-path=/b\nrecovery-option=primary_conninfo=host='a' # b\n"
             "recovery-option=archive_cleanup_command=x \"%r\"\ndb-include=a\ndb-include=b\n",
             "[global]\nrepo1-type=s3\nrepo1-s3-key-secret=a#b;c$d=\nrepo1-path=/"
             "a#b\n[main]\npg1-path=/$\n",
             "",
             "[global]\n",
         }) {
        SCOPED_TRACE(file);
        EXPECT_THAT(warnings_of(file), IsEmpty());
        EXPECT_THAT(warnings_of(file, {"info"}), IsEmpty());
        EXPECT_THAT(warnings_of(file, {"--stanza=db2", "restore"}), IsEmpty());
    }
}

TEST(Suspicion, WhatRunsOncePerSegmentSaysNothing) {
    EXPECT_THAT(
        warnings_of(kMain + "[Global]\nrepo1-path=/x\n", {"--stanza=main", "archive-push", "x"}),
        IsEmpty());
}

TEST(Suspicion, FilesThatLookIncludedAndAreNotAreNamed) {
    const test::TemporaryDirectory directory;
    std::filesystem::create_directory(directory / "conf.d");
    const auto put = [&](const std::string& name, const std::string& text = "[global]\n") {
        std::ofstream(directory / ("conf.d/" + name)) << text;
    };
    for (const char* name : {"a.conf", "b.cnf", "c.CONF", "d.conf.txt", "e", "f.conf~",
                             "g.conf.bak", ".h.conf.swp", "i.conf.dpkg-old", "j.disabled"})
        put(name);
    put("README", "What lies here is read.\n");
    std::vector<std::string> warnings;
    ASSERT_OK(resolve({.arguments = {"--config-path=" + directory.path(), "info"},
                       .environment = {},
                       .program = "x",
                       .exec_id = {}},
                      warnings));
    EXPECT_THAT(warnings, ElementsAre(HasSubstr("/b.cnf"), HasSubstr("/c.CONF"),
                                      HasSubstr("/d.conf.txt"), HasSubstr("/e'")));
}

TEST(Suspicion, PlacesThatAreNotReadAreNamed) {
    const test::TemporaryDirectory directory;
    const auto warnings_of = [&](std::vector<std::string> arguments) {
        arguments.emplace_back("info");
        std::vector<std::string> warnings;
        const auto config = resolve(
            {.arguments = std::move(arguments), .environment = {}, .program = "x", .exec_id = {}},
            warnings);
        EXPECT_OK(config);
        return warnings;
    };
    const std::string path = "--config-path=" + directory.path();
    EXPECT_THAT(warnings_of({path}), ElementsAre(HasSubstr("no configuration file is in '")));
    std::filesystem::create_directory(directory / "conf.d");
    std::ofstream(directory / "chronos.conf") << "[global]\n";
    const std::string file = "--config=" + (directory / "chronos.conf");
    EXPECT_THAT(warnings_of({file}), IsEmpty()) << "there is nothing in it";
    std::ofstream(directory / "conf.d/a.conf") << "[global]\n";
    EXPECT_THAT(warnings_of({file}), ElementsAre(AllOf(HasSubstr("/conf.d' is not read"),
                                                       HasSubstr("config-include-path"))));
    EXPECT_THAT(warnings_of({path}), IsEmpty());
    EXPECT_THAT(warnings_of({file, "--config-include-path=" + (directory / "conf.d")}), IsEmpty());
}

TEST(Suspicion, ErrorsNameTheFileAndItsOwnLine) {
    const test::TemporaryDirectory directory;
    std::filesystem::create_directory(directory / "conf.d");
    std::ofstream(directory / "pgbackrest.conf") << "[global]\nprocess-max=2\n";
    const auto text_of = [&](const std::string& included) {
        std::ofstream(directory / "conf.d/x.conf") << included;
        std::vector<std::string> warnings;
        const auto config = resolve({.arguments = {"--config-path=" + directory.path(), "info"},
                                     .environment = {},
                                     .program = "x",
                                     .exec_id = {}},
                                    warnings);
        return config ? "no error" : config.error().text();
    };
    EXPECT_THAT(text_of("\nhush\n"),
                AllOf(HasSubstr("conf.d/x.conf"), HasSubstr("at line 2"), Not(HasSubstr("hush"))));
    EXPECT_THAT(text_of("\xEF\xBB\xBF[main]\n"), HasSubstr("byte order mark"));
    EXPECT_THAT(text_of(std::string("\xFF\xFE[\0g\0", 6)), HasSubstr("UTF-16"));
    EXPECT_THAT(text_of("io-timeout=5\n"),
                AllOf(HasSubstr("conf.d/x.conf"), HasSubstr("outside of section at line 1")));
    EXPECT_EQ(text_of("[global]\nio-timeout=5\n"), "no error");
}

TEST(Suspicion, VariablesAreLookedAtAsLinesAre) {
    Resolving resolving{
        .arguments = {"info"},
        .environment = {"PGBACKREST_REPO1_CIPHER_PAS=hush", "pgbackrest_repo1_path=/x",
                        "PGBACKREST-REPO1-PATH=/x", "Chronos_Repo1_Path=/x",
                        "PGBACKREST_REPO1_PATH=/x # y", "PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc",
                        "PGBACKREST_REPO1_CIPHER_PASS='hush'", "chronos_home=/x"}};
    ASSERT_OK(resolving.run());
    EXPECT_THAT(resolving.warnings, ElementsAre(HasSubstr("'pgbackrest_repo1_path' is not read"),
                                                HasSubstr("'PGBACKREST-REPO1-PATH' is not read"),
                                                HasSubstr("'Chronos_Repo1_Path' is not read"),
                                                HasSubstr("Did you mean repo1-cipher-pass?"),
                                                AllOf(HasSubstr("/x # y"), HasSubstr("comment")),
                                                AllOf(HasSubstr("'repo1-cipher-pass': <redacted>"),
                                                      HasSubstr("quotes"))));
    for (const std::string& warning : resolving.warnings)
        EXPECT_THAT(warning, Not(HasSubstr("hush")));
    resolving.environment = {"PGBACKREST_REPO1_PATH=/x\r"};
    (void)resolving.run();
    EXPECT_THAT(resolving.warnings, ElementsAre(HasSubstr("blanks")));
}

TEST(Suspicion, FilesThatHoldASecretAreLookedAtToo) {
    const test::TemporaryDirectory directory;
    const auto warnings = [&](const std::string& content) {
        const std::string path = directory / "pass";
        std::ofstream(path) << content;
        chmod(path.c_str(), 0600);
        return warnings_of(
            "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass-file=" + path + "\n",
            {"info"});
    };
    EXPECT_THAT(warnings("hush\n"), IsEmpty());
    EXPECT_THAT(warnings("hush\r\n"), IsEmpty());
    for (const std::string content : {"hush \n", "\thush", "hush\nhush\n", "\"hush\"\n",
                                      "\xEF\xBB\xBFhush\n", "hush # y\n", "\xC2\xA0hush"}) {
        SCOPED_TRACE(content);
        EXPECT_THAT(warnings(content), ElementsAre(AllOf(HasSubstr("repo1-cipher-pass-file"),
                                                         Not(HasSubstr("hush")))));
    }
}

}  // namespace
}  // namespace chronos::config
