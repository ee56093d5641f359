#include "ops/table/needs.h"

#include <gtest/gtest.h>

#include "chronos/base/text.h"
#include "ops/table/home.h"
#include "ops/table/past.h"
#include "result_matchers.h"

namespace chronos::ops::table {
namespace {

std::string compared(const std::string& then, const std::string& now) {
    return join(missing_at_home({{"type", "public.t", "public", then}},
                                {{"type", "public.t", "public", now}}),
                "|");
}

TEST(Needs, ThatHomeHasNotAreNamed) {
    const Need mood{"type", "public.mood", "public", "enum\nsad"};
    const Need twice{"function", "public.twice(integer)", "public", "CREATE ..."};
    EXPECT_EQ(join(missing_at_home({mood, twice}, {twice}), "|"), "type public.mood: missing");
    EXPECT_EQ(join(missing_at_home({mood, twice}, {twice, mood}), "|"), "");
    // Of one name, but another thing.
    EXPECT_EQ(
        join(missing_at_home({mood}, {{"sequence", "public.mood", "public", "enum\nsad"}}), "|"),
        "type public.mood: missing");
}

TEST(Needs, AreTheSameOrMissing) {
    EXPECT_EQ(compared("domain over integer", "domain over integer"), "");
    EXPECT_EQ(compared("domain over integer", "domain over bigint"),
              "type public.t: was 'domain over integer', is 'domain over bigint'");
}

TEST(Needs, AnEnumMayHaveGotMoreLabels) {
    EXPECT_EQ(compared("enum\nsad\nhappy", "enum\nsad\nok\nhappy\nvery"), "");
    EXPECT_EQ(compared("enum\nsad", "enum\nangry\nsad"), "");
    EXPECT_NE(compared("enum\nsad\nhappy", "enum\nhappy\nsad"), "");
    EXPECT_NE(compared("enum\nsad\nok\nhappy", "enum\nsad\nhappy"), "");
    EXPECT_NE(compared("enum\nsad\nsad", "enum\nsad"), "");
    EXPECT_NE(compared("enum\nsad", "enum"), "");
    EXPECT_NE(compared("composite\nsad", "composite\nsad\nmore"), "");
}

TEST(Needs, AnArrayIsWhatTheServerReads) {
    EXPECT_EQ(array_of({}), "{}");
    EXPECT_EQ(array_of({"1", "2"}), "{\"1\",\"2\"}");
    EXPECT_EQ(array_of({"a\"b\\c,d"}), "{\"a\\\"b\\\\c,d\"}");
}

TEST(CopyOut, TakesTheRowsOfOneTableOnly) {
    PastTable table;
    table.name = "orders_1";
    table.root_name = "orders";
    EXPECT_EQ(copy_out_statement(table, "rescue", "(a, \"B\")", ""),
              "COPY \"rescue\".\"orders_1\" (a, \"B\") TO STDOUT");
    EXPECT_EQ(copy_out_statement(table, "rescue", "(a, \"B\")", "orders.a > 5 -- all"),
              "COPY (SELECT a, \"B\" FROM ONLY \"rescue\".\"orders_1\" AS \"orders\" WHERE "
              "(orders.a > 5 -- all\n)) TO STDOUT");
    EXPECT_EQ(copy_out_statement(table, "rescue", "", ""),
              "COPY \"rescue\".\"orders_1\"  TO STDOUT");
}

TEST(SchemaName, IsOneThatTheServerDoesNotShorten) {
    EXPECT_OK(check_schema_name("Größe \"1\""));
    EXPECT_OK(check_schema_name(std::string(63, 'x')));
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_schema_name(std::string(64, 'x')));
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_schema_name(""));
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_schema_name("a\nb"));
}

}  // namespace
}  // namespace chronos::ops::table
