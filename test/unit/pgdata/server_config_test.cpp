#include "chronos/pgdata/server_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "chronos/base/quote.h"

namespace chronos::pgdata {
namespace {

/// A configuration that lies in memory.
ServerConfig read(const std::map<std::string, std::string>& files) {
    ConfigSource source;
    source.read = [&](const std::string& path) -> Result<std::optional<std::string>> {
        const auto found = files.find(path);
        if (found == files.end()) return std::optional<std::string>{};
        return std::optional(found->second);
    };
    source.list = [&](const std::string& path) -> Result<std::optional<std::vector<std::string>>> {
        std::vector<std::string> names;
        for (const auto& [name, content] : files)
            if (name.starts_with(path + "/")) names.push_back(name.substr(path.size() + 1));
        if (names.empty()) return std::optional<std::vector<std::string>>{};
        return std::optional(names);
    };
    return read_server_config("/d/postgresql.conf", "/d/postgresql.auto.conf", source);
}

TEST(ServerConfig, TheLastLineCountsWhateverItsCase) {
    const ServerConfig config = read({{"/d/postgresql.conf",
                                       "# comment\n"
                                       "port=1 # first\n"
                                       "  Port 2\n"
                                       "work_mem = '4MB'\r\n"
                                       "a.b = x\n"},
                                      {"/d/postgresql.auto.conf", "PORT = '3'\n"}});
    EXPECT_EQ(config.value_of("port", ""), "3");
    EXPECT_EQ(config.find("port")->place, "postgresql.auto.conf line 1");
    EXPECT_EQ(config.value_of("work_mem", ""), "4MB");
    EXPECT_EQ(config.value_of("A.B", ""), "x");
    EXPECT_EQ(config.value_of("none", "default"), "default");
    EXPECT_THAT(config.problems, testing::IsEmpty());
}

TEST(ServerConfig, WhatWeCannotReadIsNoProblemOfTheServer) {
    ConfigSource source;
    source.read = [](const std::string& path) -> Result<std::optional<std::string>> {
        if (path == "/d/postgresql.auto.conf") return std::optional<std::string>("x = 1\n");
        return Error(ErrorKind::file_read, "the link is down");
    };
    const ServerConfig config =
        read_server_config("/d/postgresql.conf", "/d/postgresql.auto.conf", source);
    EXPECT_THAT(config.problems, testing::IsEmpty());
    EXPECT_THAT(config.unread, testing::ElementsAre("/d/postgresql.conf: the link is down"));
    EXPECT_EQ(config.value_of("x", ""), "1");
}

TEST(ServerConfig, IncludesAreFollowedInPlace) {
    const ServerConfig config =
        read({{"/d/postgresql.conf",
               "x = 1\n"
               "include 'conf/more.conf'\n"
               "y = 2\n"
               "include_dir = 'conf.d'\n"
               "include_if_exists = 'none.conf'\n"
               "include '/elsewhere/away.conf'\n"},
              {"/d/conf/more.conf", "x = 5\ny = 5\ninclude 'deeper.conf'\n"},
              {"/d/conf/deeper.conf", "z = 7\n"},
              {"/d/conf.d/20.conf", "w = 20\n"},
              {"/d/conf.d/10.conf", "w = 10\n"},
              {"/d/conf.d/.hidden.conf", "w = 30\n"},
              {"/d/conf.d/90.txt", "w = 90\n"}});
    EXPECT_EQ(config.value_of("x", ""), "5");
    EXPECT_EQ(config.value_of("y", ""), "2");
    EXPECT_EQ(config.value_of("z", ""), "7");
    EXPECT_EQ(config.value_of("w", ""), "20");
    EXPECT_THAT(config.problems,
                testing::ElementsAre("postgresql.conf line 6 includes /elsewhere/away.conf, which "
                                     "is not there"));
}

TEST(ServerConfig, FilesThatIncludeThemselvesComeToAnEnd) {
    const ServerConfig config =
        read({{"/d/postgresql.conf", "include 'postgresql.conf'\nx = 1\n"}});
    EXPECT_EQ(config.value_of("x", ""), "1");
    EXPECT_FALSE(config.problems.empty());
}

TEST(ServerConfig, LinesThatTheServerRefusesAreNamed) {
    for (const char* line : {"x = 'open", "x = 'a' b", "= 1", "x", "x = 'a\\", "1x = 2", "x = $"}) {
        const ServerConfig config = read({{"/d/postgresql.conf", std::string(line) + "\n"}});
        EXPECT_EQ(config.problems.size(), 1u) << line;
    }
}

TEST(ServerConfig, EscapesAreTheServersOwn) {
    EXPECT_EQ(parse_config_value(R"('a\tb\\c\'d''e\101\n')"), "a\tb\\c'd'eA\n");
    EXPECT_EQ(parse_config_value("'a'b'"), std::nullopt);
    EXPECT_EQ(parse_config_value("'a\\'"), std::nullopt);
}

TEST(ServerConfig, AnyBytesComeBackFromAFile) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (std::size_t left = random() % 20; left > 0; --left)
            text += random() % 2 == 0 ? "'\\\n\r\t #=0"[random() % 9]
                                      : static_cast<char>(1 + random() % 255);
        const ServerConfig config = read(
            {{"/d/postgresql.conf", "before = 1\nx = '" + conf_value(text) + "'\nafter = 2\n"}});
        EXPECT_EQ(config.value_of("x", "nothing"), text);
        EXPECT_EQ(config.settings.size(), 3u);
    }
}

TEST(ServerConfig, BooleansAreReadAsTheServerDoes) {
    for (const char* text : {"on", "ON", "t", "tru", "yes", "y", "1"})
        EXPECT_EQ(parse_config_bool(text), true) << text;
    for (const char* text : {"off", "of", "f", "FALSE", "no", "0"})
        EXPECT_EQ(parse_config_bool(text), false) << text;
    for (const char* text : {"", "o", "2", "truey"})
        EXPECT_EQ(parse_config_bool(text), std::nullopt) << text;
}

TEST(ServerConfig, NumbersAreThoseOfTheServer) {
    for (const auto& [text, value] : std::vector<std::pair<std::string, std::uint64_t>>{
             {"100", 100}, {" 7 ", 7}, {"0x64", 100}, {"0144", 100}, {"1e2", 100}, {"99.6", 100}})
        EXPECT_EQ(parse_config_int(text), value) << text;
    for (const char* text : {"", "x", "-1", "10MB", "1e99", "nan"})
        EXPECT_EQ(parse_config_int(text), std::nullopt) << text;
}

}  // namespace
}  // namespace chronos::pgdata
