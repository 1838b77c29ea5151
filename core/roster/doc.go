// Package roster reads lists of people as spreadsheets save them, and writes such
// lists. It says of each row who is meant, or why that cannot be told; it knows
// nobody yet, and changes nothing.
package roster
