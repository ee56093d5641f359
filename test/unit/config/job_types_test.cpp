// What jobs of the server are told by SQL is told to commands: names of both stand in the module,
// which does not know the table of options.
#include "extension/job_type_table.h"

#include <gmock/gmock.h>

#include <set>
#include <string>
#include <vector>

#include "config/option_table.h"
#include "resolving.h"

namespace chronos::config {
namespace {

using extension::JobType;
using extension::kJobTypes;

std::vector<std::string> options_of(const JobType& type) {
    std::vector<std::string> names;
    for (const char* const* option = type.options; *option != nullptr; ++option)
        names.emplace_back(*option);
    return names;
}

bool command_knows(const JobType& type, Name name) {
    return row_of(name).commands.contains(find_command(type.command)->id);
}

TEST(JobTypes, AreCommandsUnderNamesOfTheirOwn) {
    std::set<std::string> names;
    for (const JobType& type : kJobTypes) {
        EXPECT_TRUE(names.insert(type.name).second) << type.name;
        EXPECT_NE(find_command(type.command), nullptr) << type.name;
    }
}

TEST(JobTypes, TakeOptionsThatTheirCommandKnows) {
    for (const JobType& type : kJobTypes) {
        const std::vector<std::string> options = options_of(type);
        EXPECT_TRUE(std::ranges::is_sorted(options)) << type.name;
        for (const std::string& option : options) {
            const auto named = find_option(option);
            ASSERT_TRUE(named && named->option->name == option) << option;
            EXPECT_TRUE(named->option->commands.contains(find_command(type.command)->id))
                << type.name << " takes " << option;
        }
    }
}

// Who may start jobs is not therefore the operating system's `postgres`.
TEST(JobTypes, TakeNoPathNoPlaceAndNoSecret) {
    for (const JobType& type : kJobTypes)
        for (const std::string& name : options_of(type)) {
            const Option& option = *find_option(name)->option;
            EXPECT_NE(option.type, Type::path) << name;
            EXPECT_EQ(option.group, Group::none) << name;
            EXPECT_FALSE(option.secret || option.hidden) << name;
        }
}

TEST(JobTypes, AreGivenDataDirectoryAndWorkersIfTheCommandKnowsThem) {
    for (const JobType& type : kJobTypes) {
        EXPECT_EQ(type.takes_pg_path, command_knows(type, "pg1-path")) << type.name;
        EXPECT_EQ(type.takes_process_max, command_knows(type, "process-max")) << type.name;
    }
}

// What start_job() was told would not have passed through who may.
TEST(JobTypes, OfAFunctionOfTheirOwnTakeNothingElsewhere) {
    for (const JobType& type : kJobTypes)
        EXPECT_TRUE(type.function == nullptr || options_of(type).empty()) << type.name;
}

TEST(JobTypes, AtHomeAreToldWhereThatIsWhoAsksAndWhatToTidyUp) {
    for (const JobType& type : kJobTypes) {
        if (!type.at_home) continue;
        for (const Name name : {Name("pg1-port"), Name("pg1-socket-path"), Name("exec-id"),
                                Name("for-role"), Name("only-tidy")})
            EXPECT_TRUE(command_knows(type, name)) << type.name;
    }
}

TEST(JobTypes, HaveAFixedOptionThatTheCommandTakes) {
    for (const JobType& type : kJobTypes) {
        if (type.fixed_option == nullptr) continue;
        EXPECT_EQ(error_of({"--stanza=demo", type.command, type.fixed_option}), "no error");
    }
}

}  // namespace
}  // namespace chronos::config
