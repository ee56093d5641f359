#include "repo/ini_text.h"

#include <gtest/gtest.h>

#include "info_samples.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

struct Read {
    std::vector<std::string> entries;  ///< "section|key|value"
    Result<> result;
};

Read read(const std::string& text) {
    Read read;
    IniReader reader(text);
    IniEntry entry;
    while (reader.next(entry))
        read.entries.push_back(std::string(entry.section) + "|" + std::string(entry.key) + "|" +
                               std::string(entry.value));
    read.result = reader.finish();
    return read;
}

constexpr char kFrame[] = "[backrest]\nbackrest-format=5\nbackrest-version=\"2.59.1\"\n";

TEST(IniChecksum, IsThatOfTheReference) {
    IniChecksum checksum;
    checksum.add("backrest", "backrest-format", "5");
    checksum.add("backrest", "backrest-version", "\"2.59.1\"");
    checksum.add("db", "db-id", "1");
    checksum.add("db", "db-system-id", "7710159678555610611");
    checksum.add("db", "db-version", "\"15\"");
    checksum.add("db:history", "1", R"({"db-id":7710159678555610611,"db-version":"15"})");
    EXPECT_EQ(checksum.hex(), "1fe3f5fd19bc9cfb9d7f6b663c335200962312c5");
}

// docs/format/manifest.md, A manifest, has a database q"uote: its key is escaped in what is hashed,
// and stands as it is in the file.
TEST(IniReader, AcceptsTheChecksumOfAKeyThatNeedsEscapes) {
    EXPECT_OK(read(std::string(kManifest)).result);
}

TEST(IniReader, TakesTheFirstEqualSignThatLeavesJson) {
    const Read got = read(std::string(kManifest));
    EXPECT_NE(std::find(got.entries.begin(), got.entries.end(),
                        R"(db|a=b|{"db-id":16384,"db-last-system-id":4})"),
              got.entries.end());
}

TEST(IniReader, WhiteSpaceInValuesIsLegalAndHashed) {
    const std::string text = sealed(std::string(kFrame) + "\n[a]\nb={ \"c\" :\t1 }\n");
    EXPECT_OK(read(text).result);
    std::string other = text;
    other.erase(other.find("{ "), 2).insert(other.find("b=") + 2, "{");
    EXPECT_ERROR(ErrorKind::checksum, read(other).result);
}

TEST(IniReader, WhatIsThereTwiceIsNotChosenFrom) {
    EXPECT_OK(read(sealed(std::string(kFrame) + "\n[a]\nb=1\n\n[c]\nb=1\n")).result);
    for (const char* text :
         {"\n[a]\nb=1\nb=2\n", "\n[a]\nb=1\nb=1\n", "\n[a]\nb=1\n\n[a]\nb=2\n"}) {
        const Read twice = read(sealed(kFrame + std::string(text)));
        ASSERT_FALSE(twice.result);
        EXPECT_NE(twice.result.error().message().find("there twice"), std::string::npos);
    }
}

TEST(IniReader, ABitThatFlippedIsFound) {
    std::string text(kArchiveInfo);
    text[text.find("7710165747029732600")] = '8';
    EXPECT_ERROR(ErrorKind::checksum, read(text).result);
}

TEST(IniReader, TextWithoutAChecksumIsRefused) {
    EXPECT_ERROR(ErrorKind::checksum, read(kFrame).result);
    EXPECT_ERROR(ErrorKind::checksum, read("").result);
}

TEST(IniReader, AnotherFormatIsRefusedByNumber) {
    const Read got = read(sealed("[backrest]\nbackrest-format=6\n"));
    EXPECT_ERROR(ErrorKind::format, got.result);
    EXPECT_EQ(got.result.error().message(), "expected format 5 but found 6");
}

TEST(IniReader, NamesTheLineThatIsNoEntry) {
    const Read got = read("x=1\n");
    EXPECT_ERROR(ErrorKind::format, got.result);
    EXPECT_EQ(got.result.error().message(), "key/value found outside of section at line 1: x=1");
    for (const char* line : {"nothing", "=1", "a=", "a=01x", "a=1.5", "a=\"", "a=\"\\", "a={\"b\"}",
                             "a={\"b\":1,}", "a=[1,", "a=1\r", "[]"})
        EXPECT_ERROR(ErrorKind::format, read(std::string(kFrame) + "\n[a]\n" + line + "\n").result);
}

TEST(IniReader, ErrorsDoNotRepeatGarbage) {
    const Read got = read("\x1b[2J\xff\x00garbage\n");
    EXPECT_EQ(got.result.error().message().find('\x1b'), std::string::npos);
    EXPECT_EQ(got.result.error().message().find('\xff'), std::string::npos);
}

TEST(IniReader, NestingIsBounded) {
    const std::string deep(100000, '[');
    EXPECT_ERROR(ErrorKind::format, read(std::string(kFrame) + "\n[a]\nb=" + deep + "\n").result);
}

TEST(IniWriter, SectionsWithoutEntriesAreNotWritten) {
    IniWriter writer("2.59.1");
    writer.section("a");
    writer.section("b");
    writer.string("key", "line\n\"\\\ttab");
    EXPECT_EQ(std::move(writer).finish(),
              sealed(std::string(kFrame) + "\n[b]\nkey=\"line\\n\\\"\\\\\\ttab\"\n"));
}

}  // namespace
}  // namespace chronos::repo
