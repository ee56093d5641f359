#include "chronos/pgdata/auth_config.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

namespace chronos::pgdata {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

/// A machine with these files, that notes which of them are read.
struct Machine {
    std::map<std::string, std::string> files;
    std::vector<std::string> read;

    ConfigSource source() {
        return {[this](const std::string& path) -> Result<std::optional<std::string>> {
                    const auto found = files.find(path);
                    if (found == files.end()) return std::optional<std::string>{};
                    read.push_back(path);
                    return std::optional(found->second);
                },
                [this](const std::string& path) -> Result<std::optional<std::vector<std::string>>> {
                    std::vector<std::string> names;
                    for (const auto& [name, content] : files)
                        if (name.starts_with(path + "/"))
                            names.push_back(name.substr(path.size() + 1));
                    if (names.empty()) return std::optional<std::vector<std::string>>{};
                    return std::optional(names);
                }};
    }
};

std::string shown(const std::vector<AuthLine>& lines) {
    std::string text;
    for (const AuthLine& line : lines) {
        for (const auto& field : line) {
            for (const AuthToken& token : field)
                text += (token.quoted ? "'" : "") + token.text + ",";
            text += " ";
        }
        text += "|";
    }
    return text;
}

TEST(AuthConfig, LinesComeApartAsTheServerTakesThem) {
    EXPECT_EQ(shown(parse_auth_lines("# no line\n\nlocal all  a,b,\tc peer # why\r\n")),
              "local, all, a,b,c, peer, |");
    EXPECT_EQ(shown(parse_auth_lines("local \"a b\" \"@x\",@y \"q\"\"q\" \"\"")),
              "local, 'a b, '@x,@y, 'q\"q, ', |");
    EXPECT_EQ(shown(parse_auth_lines("local all \\\n  all peer\nb#c\n")),
              "local, all, all, peer, |b, |");
}

TEST(AuthConfig, WhatALineIncludesIsReadWhereverItStands) {
    Machine machine;
    machine.files = {{"/e/pg_hba.conf",
                      "include more_hba\n"
                      "include_dir hba.d\n"
                      "include_if_exists none\n"
                      "\"include\" \"/s/with space\"\n"
                      "local \"@db\",@dbs @users,+group peer\n"
                      "include all three\n"},
                     {"/e/more_hba", "include deeper/x\n"},
                     {"/e/deeper/x", "local all @y trust\n"},
                     {"/e/deeper/y", "me, @/s/z\n"},
                     {"/s/z", "you"},
                     {"/s/with space", ""},
                     {"/e/hba.d/1.conf", ""},
                     {"/e/hba.d/2.txt", ""},
                     {"/e/dbs", "a b"},
                     {"/e/users", "c"}};
    EXPECT_THAT(read_auth_files("/e/pg_hba.conf", machine.source()), IsEmpty());
    EXPECT_THAT(machine.read, UnorderedElementsAre("/e/pg_hba.conf", "/e/more_hba", "/e/deeper/x",
                                                   "/e/deeper/y", "/s/z", "/s/with space",
                                                   "/e/hba.d/1.conf", "/e/dbs", "/e/users"));
}

TEST(AuthConfig, WhatIsMissingIsNamed) {
    Machine machine;
    machine.files = {
        {"/e/pg_hba.conf", "include more\ninclude_dir hba.d\nlocal all @users peer\n"}};
    EXPECT_THAT(read_auth_files("/e/pg_hba.conf", machine.source()),
                ElementsAre("/e/more is not there", "directory /e/hba.d is not there",
                            "/e/users is not there"));
}

TEST(AuthConfig, FilesThatIncludeOneAnotherHaveAnEnd) {
    Machine machine;
    std::string all;
    for (int i = 0; i < 40; ++i) all += "include f" + std::to_string(i) + "\n";
    for (int i = 0; i < 40; ++i) machine.files["/e/f" + std::to_string(i)] = all;
    read_auth_files("/e/f0", machine.source());
    EXPECT_EQ(machine.read.size(), 40u);
}

}  // namespace
}  // namespace chronos::pgdata
