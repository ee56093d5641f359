#include "chronos/base/quote.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <random>

namespace chronos {
namespace {

/// What a shell makes of the words of a command.
std::string output_of(const std::string& command) {
    std::string text;
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> buffer{};
    for (std::size_t count; (count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        text.append(buffer.data(), count);
    pclose(pipe);
    return text;
}

/// As the server does it before the shell sees the command.
std::string without_placeholders(const std::string& command) {
    std::string text;
    for (std::size_t at = 0; at < command.size(); ++at) {
        if (command[at] == '%' && at + 1 < command.size() && command[at + 1] == '%') ++at;
        text += command[at];
    }
    return text;
}

TEST(Quote, AnyBytesComeBackFromAShell) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    constexpr std::string_view kNasty = "$`\"'\\ \t\n\r%!*?~#;&|<>(){}[]=-";
    for (int round = 0; round < 150; ++round) {
        std::string text;
        for (std::size_t left = random() % 24; left > 0; --left)
            text += random() % 2 == 0 ? kNasty[random() % kNasty.size()]
                                      : static_cast<char>(1 + random() % 255);
        ASSERT_TRUE(is_quotable(text));
        EXPECT_EQ(output_of("printf %s " + shell_word(text)), text);
        EXPECT_EQ(output_of("printf %s " + without_placeholders(server_command_word(text))), text);
    }
}

TEST(Quote, PlainWordsStayAsTheyAre) {
    EXPECT_EQ(shell_word("/etc/chronos.conf"), "/etc/chronos.conf");
    EXPECT_EQ(shell_word(""), "\"\"");
    EXPECT_EQ(server_command_word("/a%f"), "/a%%f");
    EXPECT_EQ(conf_value("a 'b' \\c"), "a ''b'' \\\\c");
    EXPECT_FALSE(is_quotable(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace chronos
