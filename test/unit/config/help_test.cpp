#include "chronos/config/help.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "chronos/base/text.h"
#include "config/option_table.h"
#include "fixtures_directory.h"
#include "result_matchers.h"

namespace chronos::config {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Help, ListsCommandsButNotInternalOnes) {
    EXPECT_THAT(general_help(), HasSubstr("    stanza-create   "));
    EXPECT_THAT(general_help(), Not(HasSubstr("engine")));
}

TEST(Help, OfACommandHasItsOptionsOnly) {
    const auto text = command_help("restore");
    ASSERT_OK(text);
    EXPECT_THAT(*text, HasSubstr("  --target-action "));
    EXPECT_THAT(*text, HasSubstr("  --repo<N>-path "));
    EXPECT_THAT(*text, HasSubstr("[default=latest]"));
    EXPECT_THAT(*text, Not(HasSubstr("--start-fast")));
    EXPECT_ERROR(ErrorKind::command_invalid, command_help("bogus"));
}

TEST(Help, FitsATerminal) {
    for (const CommandInfo& command : command_table()) {
        const auto text = command_help(command.name);
        ASSERT_OK(text);
        for (const auto line : split(*text, '\n')) {
            EXPECT_LE(line.size(), 80u) << line;
            EXPECT_TRUE(line.empty() || line.back() != ' ') << "'" << line << "'";
        }
    }
}

TEST(Help, OfAnOptionSaysWhatItTakes) {
    const auto text = option_help("restore", "type");
    ASSERT_OK(text);
    EXPECT_THAT(*text, HasSubstr("default:  default\n"));
    EXPECT_THAT(*text, HasSubstr("immediate"));
    EXPECT_OK(option_help("restore", "repo2-path"));
    EXPECT_ERROR(ErrorKind::option_invalid, option_help("info", "start-fast"));
}

std::string documented(const std::string& name) {
    std::ifstream file(CHRONOS_FIXTURES "/../../docs/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST(Help, DocumentedOptionsAreThoseOfTheTable) {
    EXPECT_EQ(documented("options.md"), options_markdown())
        << "renew it: chronos help --output=markdown > docs/options.md";
}

TEST(Help, ManualPagesAreThoseOfTheTable) {
    EXPECT_EQ(documented("man/chronos.1"), manual_page())
        << "renew it: chronos help --output=man > docs/man/chronos.1";
    EXPECT_EQ(documented("man/chronos.conf.5"), configuration_page())
        << "renew it: chronos help --output=man chronos.conf > docs/man/chronos.conf.5";
}

TEST(Help, CompletionIsThatOfTheTable) {
    EXPECT_EQ(documented("completion/chronos"), bash_completion())
        << "renew it: chronos help --output=bash > docs/completion/chronos";
}

}  // namespace
}  // namespace chronos::config
