// Who has called a function of SQL is told of its arguments, and not of options of a command.
#include "chronos/present/sql_words.h"

#include <gtest/gtest.h>

namespace chronos::present {
namespace {

TEST(SqlWords, OptionsBecomeArguments) {
    EXPECT_EQ(in_words_of_sql("--into names another one; what is there is never touched."),
              "into_schema names another one; what is there is never touched.");
    EXPECT_EQ(in_words_of_sql("others, which --where may not ask for either."),
              "others, which filter may not ask for either.");
    EXPECT_EQ(in_words_of_sql("With --with-dependencies run it once for each owner."),
              "With with_dependencies => true run it once for each owner.");
    EXPECT_EQ(in_words_of_sql("The live database has it: --type and --target choose a moment."),
              "The live database has it: target, target_name, target_lsn or target_xid chooses a "
              "moment.");
    EXPECT_EQ(in_words_of_sql("--type=lsn --target=0/3A017F08 recovers up to there."),
              "target_lsn => '0/3A017F08' recovers up to there.");
    EXPECT_EQ(in_words_of_sql("specify --set=20261120-075745F to restore it"),
              "specify label => '20261120-075745F' to restore it");
    EXPECT_EQ(in_words_of_sql("Another backup (--set) may have it"),
              "Another backup (label) may have it");
    EXPECT_EQ(in_words_of_sql("leave out --set, or --target."), "leave out label, or target.");
}

TEST(SqlWords, WhatTheFunctionHasNotStays) {
    for (const char* text : {"", "--target-timeline=current follows it", "--settings", "a--b",
                             "drill-path names another directory.", "--tablespace-map says."})
        EXPECT_EQ(in_words_of_sql(text), text);
}

TEST(SqlWords, OfAnErrorAllElseStays) {
    const Error said = in_words_of_sql(Error(ErrorKind::access, "no --into here")
                                           .with_hint("--into=x")
                                           .with_hint("second --set")
                                           .as_transient());
    EXPECT_EQ(said.kind(), ErrorKind::access);
    EXPECT_EQ(said.message(), "no into_schema here");
    EXPECT_EQ(said.text(), Error(ErrorKind::access, "no into_schema here")
                               .with_hint("into_schema => 'x'")
                               .with_hint("second label")
                               .text());
    EXPECT_TRUE(said.transient());
    EXPECT_FALSE(said.no_space());
}

}  // namespace
}  // namespace chronos::present
