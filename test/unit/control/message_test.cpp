#include "chronos/control/message.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

namespace chronos::control {
namespace {

unsigned seed() {
    const char* given = std::getenv("TEST_SEED");
    static const unsigned value =
        given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device()();
    return value;
}

std::string random_value(std::mt19937& random) {
    std::string value(random() % 40, '\0');
    for (char& c : value) c = static_cast<char>(random());
    return value;
}

Message random_message(std::mt19937& random) {
    Message message("log");
    const std::size_t count = random() % 6;
    for (std::size_t i = 0; i < count; ++i)
        message.fields.emplace_back("key-" + std::to_string(i), random_value(random));
    return message;
}

std::string without_line_feed(std::string line) {
    line.pop_back();
    return line;
}

TEST(Message, LooksAsDocumented) {
    EXPECT_EQ(encode(Message("push").with("file", "000000010000000000000003.partial")),
              "push file=000000010000000000000003.partial\n");
    EXPECT_EQ(encode(Message("failed").with("code", 55).with("message", "a=b 100%\n\xff")),
              "failed code=55 message=a%3Db%20100%25%0A%FF\n");
    EXPECT_EQ(encode(Message("row").with("1", "")), "row 1=\n");
    EXPECT_EQ(encode(Message("cancel")), "cancel\n");
}

// Values are SQL text, file names and other tools' messages: any byte may occur in them, and none
// may end the line or the field early.
TEST(Message, AnyBytesSurviveTheRoundTrip) {
    std::mt19937 random(seed());
    SCOPED_TRACE("TEST_SEED=" + std::to_string(seed()));
    for (int i = 0; i < 2000; ++i) {
        const Message message = random_message(random);
        const std::string line = encode(message);
        ASSERT_EQ(line.find('\n'), line.size() - 1);
        ASSERT_EQ(decode(without_line_feed(line)), message);
    }
}

TEST(Message, RefusesWhatIsNotOne) {
    for (const char* line :
         {"", " ", "Push", "push ", "push  file=a", "push file", "push =a", "push FILE=a",
          "push file=a b", "push file=a\tb", "push file=%4", "push file=%", "push file=%4g",
          "push file=%0a", "push file=a=b", "push file=\xc3\xa4"})
        EXPECT_EQ(decode(line), std::nullopt) << line;
    EXPECT_EQ(decode("push file=" + std::string(kLineSizeMax, 'a')), std::nullopt);
}

TEST(Message, NumbersAreWholeAndInRange) {
    const auto number = [](std::string_view text) {
        return Message("x").with("n", text).get_uint("n");
    };
    EXPECT_EQ(number("18446744073709551615"), 18446744073709551615ull);
    EXPECT_EQ(number("18446744073709551616"), std::nullopt);
    EXPECT_EQ(number("12x"), std::nullopt);
    EXPECT_EQ(number("-1"), std::nullopt);
    EXPECT_EQ(number(""), std::nullopt);
    EXPECT_EQ(Message("x").get_uint("n"), std::nullopt);
}

TEST(Message, MissingFieldIsNotAnEmptyOne) {
    const Message message = Message("row").with("1", "");
    ASSERT_NE(message.get("1"), nullptr);
    EXPECT_EQ(*message.get("1"), "");
    EXPECT_EQ(message.get("2"), nullptr);
    EXPECT_EQ(message.get_or("2", "fallback"), "fallback");
}

TEST(LineBuffer, AssemblesLinesFromAnyChunking) {
    std::mt19937 random(seed());
    SCOPED_TRACE("TEST_SEED=" + std::to_string(seed()));
    std::vector<std::string> expected;
    std::string stream;
    for (int i = 0; i < 300; ++i) {
        expected.push_back(encode(random_message(random)));
        stream += expected.back();
        expected.back().pop_back();
    }
    LineBuffer buffer;
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < stream.size();) {
        const std::size_t size = random() % 100;
        ASSERT_TRUE(buffer.append(std::string_view(stream).substr(at, size)));
        at += std::min(size, stream.size() - at);
        // Not after each piece: lines must also queue up.
        if (random() % 3 == 0)
            while (auto line = buffer.next_line()) lines.push_back(*std::move(line));
    }
    while (auto line = buffer.next_line()) lines.push_back(*std::move(line));
    EXPECT_EQ(lines, expected);
    EXPECT_FALSE(buffer.has_partial_line());
}

TEST(LineBuffer, TellsALineThatWasCutOff) {
    LineBuffer buffer;
    ASSERT_TRUE(buffer.append("one\ntw"));
    EXPECT_EQ(buffer.next_line(), "one");
    EXPECT_EQ(buffer.next_line(), std::nullopt);
    EXPECT_TRUE(buffer.has_partial_line());
}

// The guard of an engine ends what the worker may have left without an end: half of a message can
// look like a whole one.
TEST(LineBuffer, DropsALineMarkedAsCutOff) {
    LineBuffer buffer;
    ASSERT_TRUE(buffer.append("one\ndone label=2026\x18\n\x18\ntwo\nthr\x18\n"));
    EXPECT_EQ(buffer.next_line(), "one");
    EXPECT_EQ(buffer.next_line(), "two");
    EXPECT_EQ(buffer.next_line(), std::nullopt);
    EXPECT_FALSE(buffer.has_partial_line());
}

TEST(LineBuffer, TakesALineOfTheLargestSizeAndNoByteMore) {
    const std::string largest(kLineSizeMax, 'a');
    LineBuffer fits;
    EXPECT_TRUE(fits.append("x\n" + largest));
    EXPECT_TRUE(fits.append("\n"));
    EXPECT_EQ(fits.next_line(), "x");
    EXPECT_EQ(fits.next_line(), largest);

    LineBuffer bursts;
    EXPECT_TRUE(bursts.append(largest));
    EXPECT_FALSE(bursts.append("a"));
    EXPECT_FALSE(bursts.append("\n")) << "a broken channel stays broken";
}

}  // namespace
}  // namespace chronos::control
