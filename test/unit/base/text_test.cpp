#include "chronos/base/text.h"

#include <gtest/gtest.h>

namespace chronos {
namespace {

TEST(FormatSize, RoundsHalfUpToOneDecimalAsInfoPrints) {
    EXPECT_EQ(format_size(448), "448B");
    EXPECT_EQ(format_size(1024), "1KB");
    EXPECT_EQ(format_size(6236335), "5.9MB");
    EXPECT_EQ(format_size(6258992), "6MB");
    EXPECT_EQ(format_size(65625416), "62.6MB");
    EXPECT_EQ(format_size(std::uint64_t{5} << 40), "5120GB");
}

TEST(NearestName, FindsATypingErrorButNotAnotherWord) {
    const std::vector<std::string> names = {"repo1-path", "process-max", "stanza"};
    EXPECT_EQ(nearest_name("proces-max", names), "process-max");
    EXPECT_EQ(nearest_name("zzzzzzzz", names), std::nullopt);
}

TEST(Printable, NeverLetsControlBytesOrBadUtf8Through) {
    EXPECT_EQ(printable("a\x1b[31mb\xff\xc3\xa4"), "a?[31mb?\xc3\xa4");
    EXPECT_EQ(printable("abcdef", 3), "abc...");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m\xc2\xa0\n"),
              "?31m\xc2\xa0?");
}

TEST(WithoutControls, KeepsLinesAndWhatIsInThem) {
    EXPECT_EQ(without_controls("a\tb\n\x1b[31m\x7f\r\xc2\x85\xff\xc3\xa4"),
              "a\tb\n?[31m???\xff\xc3\xa4");
}

TEST(OneLine, HasWhatSeveralLinesSay) {
    EXPECT_EQ(one_line("FATAL: no\n\tsuch\r\nrole\x1b"), "FATAL: no  such  role?");
    EXPECT_EQ(one_line(std::string(40, 'a') + "\nb", 40), std::string(40, 'a') + "...");
}

TEST(Hex, ReadsBackWhatItWrote) {
    const auto bytes = from_hex("00ff7a");
    ASSERT_TRUE(bytes.has_value());
    EXPECT_EQ(to_hex(*bytes), "00ff7a");
    EXPECT_EQ(from_hex("0"), std::nullopt);
    EXPECT_EQ(from_hex("0g"), std::nullopt);
}

}  // namespace
}  // namespace chronos
