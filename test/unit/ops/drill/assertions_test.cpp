#include <gmock/gmock.h>

#include "chronos/ops/drill/drill.h"
#include "result_matchers.h"

namespace chronos::ops::drill {
namespace {

std::vector<Assertion> parsed(std::string_view text) {
    return parse_assertions(text, "postgres").value();
}

TEST(Assertions, AQuestionAloneMustBeTrue) {
    const auto assertions = parsed("SELECT count(*) > 0 FROM orders");
    ASSERT_EQ(assertions.size(), 1u);
    EXPECT_EQ(assertions[0].sql, "SELECT count(*) > 0 FROM orders");
    EXPECT_EQ(assertions[0].expected, "t");
    EXPECT_EQ(assertions[0].database, "postgres");
}

TEST(Assertions, AnArrowSeparatesTheAnswer) {
    EXPECT_EQ(parsed("SELECT 1 => 1")[0].expected, "1");
    EXPECT_EQ(parsed("SELECT 'a' => a b c ;")[0].expected, "a b c");
    EXPECT_EQ(parsed("SELECT 'a' => a b c ;")[0].sql, "SELECT 'a'");
}

TEST(Assertions, AnArrowWithinParenthesesOrQuotesIsPartOfTheQuestion) {
    const auto named = parsed("SELECT make_interval(days => 1) > '0'::interval")[0];
    EXPECT_EQ(named.expected, "t");
    EXPECT_EQ(named.sql, "SELECT make_interval(days => 1) > '0'::interval");
    EXPECT_EQ(parsed("SELECT f(a => 'x)') => 7")[0].expected, "7");
    EXPECT_EQ(parsed("SELECT 'it''s => so' = \"=>\"")[0].expected, "t");
}

TEST(Assertions, AFileHasCommentsDatabasesAndStatementsOfSeveralLines) {
    const auto assertions = parsed(
        "-- orders\n"
        "SELECT count(*)\n"
        "  FROM orders => 42;\n"
        "\n"
        "# another database\n"
        "\\connect app\n"
        "SELECT max(created) > now() - interval '1 day' FROM event;\n"
        "SELECT 1 => 1\n");
    ASSERT_EQ(assertions.size(), 3u);
    EXPECT_EQ(assertions[0].sql, "SELECT count(*)\n  FROM orders");
    EXPECT_EQ(assertions[0].expected, "42");
    EXPECT_EQ(assertions[0].database, "postgres");
    EXPECT_EQ(assertions[1].database, "app");
    EXPECT_EQ(assertions[2].database, "app");
}

TEST(Assertions, ADatabaseMayStandInFrontOfAQuestion) {
    const auto assertions = parsed("\\connect app SELECT 1 => 1");
    ASSERT_EQ(assertions.size(), 1u);
    EXPECT_EQ(assertions[0].database, "app");
    EXPECT_EQ(assertions[0].sql, "SELECT 1");
}

// As psql reads it: whoever has such a database has its line from there.
TEST(Assertions, ADatabaseIsNamedAsPsqlTakesIt) {
    const auto database = [](const std::string& name) {
        const auto assertions = parsed("\\connect " + name + "\nSELECT true");
        return assertions.size() == 1 ? assertions[0].database : "?";
    };
    EXPECT_EQ(database("\"My shop\""), "My shop");
    EXPECT_EQ(database("'My shop'"), "My shop");
    EXPECT_EQ(database("\"a\"\"b\""), "a\"b");
    EXPECT_EQ(database("it\"'\"s"), "it's");
    EXPECT_EQ(database("shop;"), "shop");
    EXPECT_EQ(database("\"shop;\";"), "shop;");
    EXPECT_EQ(database("dbname=x"), "dbname=x");
    EXPECT_EQ(parsed("\\c shop\nSELECT true")[0].database, "shop");
    EXPECT_EQ(parsed("\\connect\t\"My shop\" SELECT 1 => 1")[0].sql, "SELECT 1");
    EXPECT_EQ(parsed("\\connect \"My shop\" SELECT 1 => 1")[0].database, "My shop");
    EXPECT_ERROR(ErrorKind::option_invalid_value,
                 parse_assertions("\\connect \"shop\nSELECT true", "postgres"));
}

TEST(Assertions, AQuestionEndsWhereTheServerSeesASemicolon) {
    const auto questions = [](std::string_view text) {
        std::vector<std::string> found;
        for (const Assertion& assertion : parsed(text)) found.push_back(assertion.sql);
        return found;
    };
    using testing::ElementsAre;
    EXPECT_THAT(questions("SELECT 1; SELECT 2;\nSELECT 3"),
                ElementsAre("SELECT 1", "SELECT 2", "SELECT 3"));
    EXPECT_THAT(questions("SELECT 1; -- one\nSELECT 2; /* two; */ SELECT 3 -- three;\n;"),
                ElementsAre("SELECT 1", "SELECT 2", "SELECT 3"));
    EXPECT_THAT(questions("SELECT a -- the first;\n = b;\nSELECT 2"),
                ElementsAre("SELECT a  \n = b", "SELECT 2"));
    for (const char* question : {"SELECT ';' = \"a;b\"", "SELECT E'it\\';' <> ''",
                                 "SELECT 'it\\' <> ''", "SELECT $$;'$$ = $x$;$$;$x$",
                                 "SELECT 'it'';'", "SELECT a$b$c", "SELECT '\n  -- no comment\n;'"})
        EXPECT_THAT(questions(std::string(question) + ";\nSELECT 2"),
                    ElementsAre(question, "SELECT 2"));
    EXPECT_THAT(questions("SELECT /* a /* nested */ ; */ 1;\nSELECT 2"),
                ElementsAre("SELECT   1", "SELECT 2"));
}

TEST(Assertions, AnAnswerIsAnyTextUpToTheSemicolonThatEndsItsLine) {
    const auto assertions = parsed(
        "SELECT a => it's;\n"
        "SELECT b => x;y /* - */ -- z;\n"
        "SELECT c => (;  -- open\n"
        "SELECT d => 4");
    ASSERT_EQ(assertions.size(), 4u);
    EXPECT_EQ(assertions[0].expected, "it's");
    EXPECT_EQ(assertions[1].expected, "x;y /* - */ -- z");
    EXPECT_EQ(assertions[2].expected, "(");
    EXPECT_EQ(assertions[3].expected, "4");
}

TEST(Assertions, OtherCommandsOfPsqlAreRefused) {
    EXPECT_ERROR(ErrorKind::option_invalid_value,
                 parse_assertions("\\set x 1\nSELECT true", "postgres"));
}

TEST(Assertions, WithoutQuestionOrAnswerItIsNone) {
    EXPECT_ERROR(ErrorKind::option_invalid_value, parse_assertions("=> 1", "postgres"));
    EXPECT_ERROR(ErrorKind::option_invalid_value, parse_assertions("SELECT 1 =>", "postgres"));
    EXPECT_TRUE(parsed("\n -- nothing\n;\n").empty());
}

}  // namespace
}  // namespace chronos::ops::drill
