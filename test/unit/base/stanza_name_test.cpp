#include "chronos/base/stanza_name.h"

#include <gtest/gtest.h>

#include <string>

#include "chronos/base/utf8.h"

namespace chronos {
namespace {

TEST(StanzaName, IsWhatPgbackrestTakes) {
    for (const char* name :
         {"main", "a@b", "a b",  "\xc3\xa4", "-x",      "a=b", "a#b", "a]b", "[",
          "a:b",  "a'b", "a\"b", "a\\b",     "a$b",     "a+b", "a,b", "a%b", "_a",
          "1",    "a.b", " a",   "a ",       "archive", ".a",  "*"})
        EXPECT_EQ(stanza_name_problem(name), nullptr) << name;
    EXPECT_EQ(stanza_name_problem(std::string(200, 'x')), nullptr);
}

TEST(StanzaName, IsNothingThatCannotBeADirectoryASectionOrText) {
    for (const char* name : {"", ".", "..", "a/b", "/", "global", "global:backup", "a\nb", "a\tb",
                             "\x7f", "a\xff", "\xc3"})
        EXPECT_NE(stanza_name_problem(name), nullptr) << name;
    EXPECT_NE(stanza_name_problem(std::string(201, 'x')), nullptr);
    EXPECT_NE(stanza_name_problem(std::string_view("a\0b", 3)), nullptr);
}

// The server's tables hold what its own check accepts, so ours must not accept more.
TEST(Utf8, IsNeitherOverlongNorASurrogateNorTooLarge) {
    for (const char* good :
         {"a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
          "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
        EXPECT_EQ(utf8_length(good), std::string_view(good).size()) << good;
    for (const char* bad :
         {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82"})
        EXPECT_EQ(utf8_length(bad), 0u) << bad;
}

}  // namespace
}  // namespace chronos
