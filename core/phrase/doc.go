// Package phrase finds words and phrases in what people write to a business:
// without accents, with typos, in capitals, several languages in one message.
//
// A [Words] is the dictionary of everything that is looked for in the same
// messages. A message is read once, by [Words.Read], and then searched by any
// number of a dictionary's sets ([Set.Find]). What is looked for is written so
// that a person can read it:
//
//	opening hours            these words, one after the other
//	complain*                words that begin so
//	never … arrived          up to four other words in between, in one sentence
//	(not|never) received     one or the other
//	where is [my] order      my may be missing
//	never arrived {order}    any phrase of the list "order" (see [Words.List])
//	{order} #                a word with a digit in it
//	^ stop $                 the beginning and the end of the message
//	-no complaints           an exception: these words do not count in this set
//
// Upper and lower case, accents, apostrophes, stretched words (heeello) and
// traditional or simplified Chinese are the same. Words of six letters or more
// are found with one typo in them, unless what was typed is a word of the
// dictionary itself. Chinese characters are words of their own here: in a gap
// two of them count as one word.
//
// What nobody has written a phrase for is told by [Examples]: messages of which
// somebody has said what they are about.
//
// Everything is bounded: a message is read up to [MaxTokens] words, and the work
// for one phrase by a number of steps. A dictionary that is complete may be used
// by several goroutines.
package phrase
