package language

import "strings"

// latinWords are frequent words of languages in the Latin script, mostly function
// words: those that a sentence can hardly avoid.
var latinWords = map[string]string{
	"en": "the of and to in is that it was for on are with as be at by this have from or had not but what all were when we there can an your which their if do will each about how up out them then she many some so these would into has more her two him time no could my than been who its now did get may part i you he they his me let us first find answer think wait check because therefore since number before after again step problem line made equal just my mistake our should here where does any only must both between same other value total",
	"fr": "le la les de des du un une et est en que qui dans pour pas sur au aux avec ce cette ces il elle nous vous ils elles on je tu ne se sa son ses leur leurs mais ou où donc car si plus tout tous toute comme par être sont était avons avez ont fait faire peut deux nombre nombres réponse avant après encore étape problème ligne erreur d'abord alors ainsi puis combien somme attendez réfléchissons mon ma mes notre votre même très bien j'ai c'est n'est qu'il l'on cherchons restent",
	"de": "der die das und ist in den von zu mit dem des ein eine einer einem einen nicht es sich auf für als auch an werden aus er hat dass sie nach bei um am sind noch wie war nur oder aber vor zur bis mehr durch man kann sein wird wenn wir ich du ihr uns so dann also zuerst moment zahl zahlen antwort schritt aufgabe zeile fehler einmal viele beiden summe größer habe haben ihre ihren dieser diese dieses alle über zwei gibt muss weil jetzt hier",
	"es": "el la los las de del un una unos unas y es en que por para con no se su sus lo le les al como más pero o si ya porque cuando muy sin sobre también me hay todo todos esta este esto estos estas ser son era fue han he ha está así entonces primero luego número números respuesta antes después paso problema línea error dos cuántas cuántos suma mayor espera calculamos pensemos tenemos voy nuevo quedan",
	"it": "il lo la i gli le di del della dei delle un uno una e è in che per con non si su sono da come più ma o se anche al alla ai dal dalla nel nella questo questa questi queste ho ha hanno era essere fatto cosa quindi allora prima poi numero numeri risposta dopo passo problema riga errore due somma maggiore aspetta calcoliamo pensiamo perché molto tutti tutto ci quanti quante",
	"pt": "o a os as de do da dos das um uma e é em que por para com não se seu sua seus suas no na nos nas ao aos à como mais mas ou também já foi são era ser está isso este esta esses então primeiro depois número números resposta antes passo problema linha erro dois duas soma maior espere calculamos pensemos temos vou novo quantos quantas porque muito você ele ela",
	"nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als dan maar of bij uit nog naar heeft hebben wordt werd door over zich dit deze die wij we ik je hij zij ze hun eerst dus getal getallen antwoord stap probleem regel fout twee som groter wacht hoeveel omdat geen meer kan worden was",
	"pl": "i w na z do nie się to jest że o od po jak co za przez dla są ale czy tak być jego jej ich już tylko który która które lub oraz więc najpierw liczba liczby odpowiedź krok zadanie linii błąd dwóch suma większa poczekaj przed ma mamy ten ta te",
	"sv": "och i att det som en på är av för med till den har de inte om ett han hon men var jag vi ni så kan från nu när också vid efter eller först sedan tal svar steg problem rad fel två summan större vänta hur många eftersom alla detta denna",
	"da": "og i at det som en på er af for med til den har de ikke om et han hun men var jeg vi så kan fra nu når også ved efter eller først derefter tal svar trin opgave linje fejl to summen større vent hvor mange fordi alle dette denne være blev",
	"no": "og i å det som en på er av for med til den har de ikke om et han hun men var jeg vi så kan fra nå når også ved etter eller først deretter tall svar steg oppgave linje feil to summen større vent hvor mange fordi alle dette denne være ble",
	"fi": "ja on ei se että hän oli ovat mutta kun niin kuin myös tai jos sen tämä me te he minä sinä ensin sitten luku vastaus askel tehtävä rivi virhe kaksi summa suurempi odota kuinka monta koska kaikki voi ole",
	"cs": "a v na se je že to s z do o k i by ale jako za po pro tak jsou který která které nebo však jen už má jsme proto nejprve číslo odpověď krok úloha řádek chyba dva součet větší počkej kolik protože všechny být",
	"ro": "și în de la a cu pe este nu un o din pentru că se mai sunt care ce fi au dar sau ca după acest această aceste mai întâi apoi număr răspuns pas problemă linie greșeală două suma mare așteaptă câte deoarece toate",
	"hu": "a az és hogy nem is egy ez azt van volt de ha csak már meg még mint vagy lehet kell mert először majd szám válasz lépés feladat sor hiba két összege nagyobb várj hány minden után előtt",
	"tr": "ve bir bu da de için ile ne o mi çok daha gibi kadar sonra önce ama veya ki var yok olarak olan değil biz ben sen ilk sayı cevap adım problem satır hata iki toplam büyük bekle kaç çünkü her tüm",
	"vi": "và là của có không được cho trong một những các này đó với để người khi đã từ như về ra thì sẽ nhưng hay tôi chúng ta bạn trước sau số câu trả lời bước bài toán dòng lỗi hai tổng lớn hơn bao nhiêu vì tất cả",
	"sw": "na ya wa kwa ni katika la za cha hii huu kuwa kama lakini au pia yake wake watu hiyo ili hata sana moja mbili kila baada kabla jibu hatua namba nambari jumla kubwa subiri tuna wote wanadamu",
	"id": "yang dan di ini itu dengan untuk dari tidak pada dalam adalah akan ke juga atau ada saya kami kita mereka oleh karena sudah bisa lebih jika maka pertama kemudian angka bilangan jawaban langkah masalah baris kesalahan dua jumlah besar tunggu berapa semua sebelum sesudah",
}

// latinLetters are letters that say much about a language.
var latinLetters = map[string]string{
	"fr": "àâçéèêëîïôùûœ", "de": "äöüß", "es": "áéíóúñ¿¡", "it": "àèéìòù", "pt": "ãõâêôáéíóúç", "pl": "ąćęłńóśźż", "sv": "åäö", "da": "æøå", "no": "æøå", "fi": "äö", "cs": "ěščřžýáíéůú", "ro": "ăâîșț", "hu": "őűáéíóöüú",
	"tr": "ğışçöü", "vi": "ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
}

// index is latinWords the other way around: word to languages.
var index = func() map[string][]string {
	out := map[string][]string{}
	for lang, words := range latinWords {
		for _, w := range strings.Fields(words) {
			if !contains(out[w], lang) {
				out[w] = append(out[w], lang)
			}
		}
	}
	return out
}()

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// minScore is how much evidence a sentence needs before it is given to a language.
const minScore = 1.0

// maxEvidence is how many words of a sentence are looked at.
const maxEvidence = 1000

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// identify returns the language of Latin words of one sentence, "" if they do not
// say. A word counts 1 shared by the languages that have it, a telling letter 0.3.
// If prefer is as likely as the best, it is prefer.
func identify(words []string, prefer string) string {
	score := map[string]float64{}
	for _, w := range words[:min(len(words), maxEvidence)] {
		w = strings.ToLower(w)
		langs := index[w]
		if len(langs) == 0 {
			if at := strings.IndexAny(w, "'’"); at > 0 { // l'homme: an elision
				langs = index[w[:at]+"e"]
			}
		}
		for _, l := range langs {
			score[l] += 1 / (0.5 + 0.5*float64(len(langs)))
		}
		if ascii(w) {
			continue
		}
		for l, letters := range latinLetters {
			if strings.ContainsAny(w, letters) {
				score[l] += 0.3
			}
		}
	}
	best, top := "", 0.0
	for l, s := range score {
		if s > top || s == top && l < best {
			best, top = l, s
		}
	}
	if score[prefer] >= top-1e-9 && top > 0 {
		best = prefer
	}
	if top < minScore && len(words) > 1 || top == 0 {
		return ""
	}
	return best
}
