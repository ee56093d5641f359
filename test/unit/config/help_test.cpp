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

TEST(Help, DocumentedOptionsAreThoseOfTheTable) {
    std::ifstream file(CHRONOS_FIXTURES "/../../docs/options.md");
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_EQ(text.str(), options_markdown())
        << "renew it: chronos help --output=markdown > docs/options.md";
}

}  // namespace
}  // namespace chronos::config
